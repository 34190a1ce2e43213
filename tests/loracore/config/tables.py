"""Tables and shortcuts for the tests of reading and checking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli

from loracore.config.checking import Checked, check
from loracore.config.declared import Declared, declare
from loracore.config.flags import Flags, read_flags
from loracore.config.given import Given
from loracore.config.options import option
from loracore.config.sections import read_sections
from loracore.config.toml_file import TomlFile


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of all kinds."""

    rank: Annotated[int, option("a rank", ge=1, le=64, network_arg=True)] = 4
    alpha: Annotated[float | None, option("an alpha", ge=0, network_arg=True)] = None
    warm_up: Annotated[int | float, option("steps or a share", ge=0)] = 0
    rates: Annotated[tuple[float, ...], option("rates", network_arg=True)] = ()
    length: Annotated[Literal[75, 150, 225], option("a number of few")] = 75


@dataclass(frozen=True, slots=True)
class Words:
    """Words and switches."""

    name: Annotated[str | None, option("a name")] = None
    precision: Annotated[Literal["no", "fp16", "bf16"], option("a precision")] = "no"
    gentle: Annotated[bool, option("be gentle", network_arg=True)] = False
    no_words: Annotated[bool, option("a switch whose own name begins with no_")] = False
    network_args: Annotated[tuple[str, ...], option("second door")] = ()


DECLARED: Declared = declare([("core", (Numbers,)), ("network toy", (Words,))])


def flags(*argv: str) -> Flags:
    return read_flags(argv, DECLARED.options)


def in_file(text: str) -> tuple[Given, ...]:
    """Return the options of a TOML text in which no section or syntax is wrong."""
    values = tomli.loads(text)
    return read_sections(TomlFile(Path("a.toml"), values, {})).given


def checked(*layers: Sequence[Given]) -> Checked:
    return check(layers, DECLARED)


def value_of(name: str, raw: Any) -> Any:
    """Return what becomes of a raw value; fails when it is refused."""
    found = checked([Given(name, raw, "here")])
    assert not found.problems
    return dict(found.config)[name]


def said_of(name: str, raw: Any) -> str:
    """Return what is said of a refused value, in one line."""
    problems = checked([Given(name, raw, "a.toml:3")]).problems
    return "\n".join(map(str, problems))
