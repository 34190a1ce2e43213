from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from loracore.testing.contract.faults import (
    CannotGoOn,
    ContractError,
    Fault,
    any_error_is,
    gathered,
    place,
    raised_at,
)

SMALL, LARGE = Fault("options", "a.py:1", "it is small", "enlarge it"), Fault("demo", "a.py", "it is large", "cut it")


def stopping() -> Iterator[Fault]:
    yield SMALL
    raise CannotGoOn(LARGE)


def test_what_a_check_found_before_it_could_not_go_on_is_kept_and_said_once() -> None:
    assert gathered(stopping, lambda: [LARGE, SMALL]) == [SMALL, LARGE]


def test_whatever_is_raised_ends_a_check_with_the_fault_that_is_made_of_it() -> None:
    def raising() -> Iterator[Fault]:
        yield SMALL
        with any_error_is(lambda error: replace(LARGE, message=str(error))):
            raise OSError("enough")

    assert gathered(raising) == [SMALL, replace(LARGE, message="enough")]
    with pytest.raises(CannotGoOn) as caught:
        list(raising())
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_says_every_fault_with_its_place_and_cure() -> None:
    error = ContractError("toy", [SMALL, LARGE])
    assert str(error).splitlines()[1:] == [
        "  options (a.py:1): it is small; enlarge it",
        "  demo (a.py): it is large; cut it",
    ]


def test_a_function_is_placed_by_file_and_line() -> None:
    assert place(stopping) == f"test_faults.py:{stopping.__code__.co_firstlineno}"


def test_an_exception_is_placed_at_the_plugins_own_innermost_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "moonlight"
    package.mkdir()
    (package / "__init__.py").write_text("from moonlight import inner\n\ndef hook():\n    inner.work()\n")
    (package / "inner.py").write_text("import json\n\n\ndef work():\n    json.loads('{')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="Expecting") as caught:
        import_module("moonlight").hook()
    assert raised_at(caught.value, "moonlight") == "inner.py:5"


def test_an_exception_from_elsewhere_is_placed_in_the_plugins_file() -> None:
    assert raised_at(ValueError(), "loracore.testing.toy") == "toy.py"
