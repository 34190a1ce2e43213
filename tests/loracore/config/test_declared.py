"""Tables become options; every option has one owner, a default and a line of help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from loracore.config.declared import declare, plugin_tables
from loracore.config.options import CORE_OPTIONS, option
from loracore.errors import PluginError
from tests.loracore.config.tables import DECLARED, Numbers

CORE = declare([("core", CORE_OPTIONS)])


@dataclass(frozen=True)
class Rival:
    """Wants a name that is taken."""

    rank: Annotated[int, option("another rank")] = 1


@dataclass(frozen=True)
class Careless:
    """Forgets what an option needs."""

    plain: int = 1
    wanting: Annotated[int, option("no default")] = field(kw_only=True)
    mute: Annotated[int, option("")] = 1


def test_an_option_tells_shape_kind_bounds_and_owner() -> None:
    rank, rates, gentle = (DECLARED.options[name] for name in ("rank", "rates", "gentle"))
    assert (rank.shape, rates.shape, gentle.shape) == ("one", "list", "switch")
    assert rank.bounds == (("minimum", 1), ("maximum", 64))
    assert (rank.owner, gentle.owner) == ("core", "network toy")
    assert rates.kinds == (float,)


def test_the_second_door_is_open_to_tagged_options_only() -> None:
    assert DECLARED.network_args() == ["rank", "alpha", "rates", "gentle"]


def test_one_name_in_two_tables_names_both_owners() -> None:
    with pytest.raises(PluginError, match=r"'rank' .* by core \(Numbers\) and extension two \(Rival\)"):
        declare([("core", [Numbers]), ("extension two", [Rival])])


def test_fields_that_are_no_options_are_all_reported() -> None:
    with pytest.raises(PluginError) as caught:
        declare([("extension two", [Careless])])
    assert [problem.message.split("'")[1] for problem in caught.value.problems] == ["plain", "wanting", "mute"]


class NoTable:
    """Is no dataclass."""


@dataclass(frozen=True)
class Unreadable:
    """Has a type that nobody knows."""

    far: Annotated[Moon, option("how far")] = 1  # type: ignore[name-defined]  # noqa: F821  # wrong on purpose


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Rival, "gives the class Rival, and no tuple of classes"),
        ((1,), r"gives \(1,\), and no tuple of classes"),
        ((NoTable,), r"NoTable, which is no dataclass.*@dataclass\(frozen=True, slots=True\)"),
        ((Careless,), r"field 'wanting' of Careless has no default.*\(write name: Annotated"),
        ((Unreadable,), r"Unreadable, whose fields cannot be read: NameError"),
    ],
)
def test_an_answer_that_is_no_tables_is_the_plugins_error(answer: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said) as caught:
        plugin_tables(answer, lambda does, fix: PluginError(f"odd {does} 'options'", where="odd.py:1", fix=fix))
    assert {(each.where, each.message[:4]) for each in caught.value.problems} == {("odd.py:1", "odd ")}


@pytest.mark.parametrize("name", CORE.options)
def test_every_core_option_has_help_and_a_type_that_is_understood(name: str) -> None:
    found = CORE.options[name]
    assert found.help
    assert "\n" not in found.help
    assert found.kinds or found.choices
