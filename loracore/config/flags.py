"""Flags of a run command: ``[CONFIG] [--option value …]``, read with the options that are known so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loracore.config.declared import Option
from loracore.config.given import Given, given_twice, underscored
from loracore.errors import Problem

#: The field's spelling of CONFIG.
CONFIG_FLAG = "config_file"
_TRUTHS = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Flags:
    """What a command line says."""

    given: tuple[Given, ...]
    config: str | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one flag and the words behind it say."""

    given: tuple[Given, ...] = ()
    free: tuple[str, ...] = ()  # words that belong to no option
    doubtful: tuple[str, ...] = ()  # words behind an unknown option: its values, or free
    problems: tuple[Problem, ...] = ()


def read_flags(argv: Sequence[str], options: Mapping[str, Option]) -> Flags:
    """Return the options and CONFIG of a command line.

    Lists take every value up to the next ``--``, switches none, others one; ``--x=v``, ``--no_x``, and dashes for
    underscores are understood. An unknown option is returned with the words behind it; of those, a ``.toml`` is CONFIG
    when no other word is.
    """
    readings = [_read(flag, words, options) for flag, words in _segments(argv)]
    given = tuple(each for reading in readings for each in reading.given)
    free = [word for reading in readings for word in reading.free]
    doubtful = [word for reading in readings for word in reading.doubtful if word.lower().endswith(".toml")]
    config = next(iter(free + doubtful), None)
    problems = [problem for reading in readings for problem in reading.problems]
    problems += [Problem(f"unexpected word '{word}'", fix=f"CONFIG is '{config}' already") for word in free[1:]]
    return Flags(given, config, (*problems, *given_twice(given)))


def _segments(argv: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give each flag with the words up to the next one; the words before the first flag have the flag ``""``."""
    starts = [index for index, word in enumerate(argv) if word.startswith("--")]
    yield "", list(argv[: starts[0]] if starts else argv)
    for start, stop in zip(starts, [*starts, len(argv)][1:], strict=True):
        yield argv[start], list(argv[start + 1 : stop])


def _read(flag: str, words: list[str], options: Mapping[str, Option]) -> _Reading:
    if not flag:
        return _Reading(free=tuple(words))
    spelling, has_value, value = flag.removeprefix("--").partition("=")
    name = underscored(spelling)
    values = [value, *words] if has_value else words
    if name == CONFIG_FLAG:
        return _Reading(free=tuple(values)) if values else _lacks_value(name)
    switch = name not in options and name.startswith("no_") and options.get(name[3:])
    if switch and switch.shape == "switch":
        return _switch(Given(switch.name, value="false", place=f"--{name}"), words, has_value=bool(has_value))
    if name not in options:
        return _Reading((Given(name, tuple(values), f"--{name}"),), doubtful=tuple(words))
    return _known(options[name], value if has_value else None, words)


def _known(option: Option, value: str | None, words: list[str]) -> _Reading:
    place = f"--{option.name}"
    if option.shape == "switch":
        return _switch(Given(option.name, "true" if value is None else value, place), words, has_value=False)
    values = words if value is None else [value, *words]
    if option.shape == "list":
        return _Reading((Given(option.name, tuple(values), place),))
    if not values:
        return _lacks_value(option.name)
    first, *others = values
    surplus = [word for word in others if _is_number(word)]
    free = tuple(word for word in others if word not in surplus)
    fix = "keep one" if option.secret else f"leave out {' '.join(surplus)}"
    problem = Problem(f"this option takes one value, not {len(surplus) + 1}", place, fix)
    return _Reading((Given(option.name, first, place),), free, problems=(problem,) if surplus else ())


def _is_number(word: str) -> bool:
    """Tell whether a word is a number, which nobody calls a file."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _switch(given: Given, words: list[str], *, has_value: bool) -> _Reading:
    """Read a switch; ``true`` or ``false`` behind it is a value that it does not take, never CONFIG."""
    if has_value or (words and words[0].lower() in _TRUTHS):
        fix = f"write --{given.name} or --no_{given.name}"
        problem = Problem("this switch takes no value", given.place, fix)
        return _Reading((given,), free=tuple(words if has_value else words[1:]), problems=(problem,))
    return _Reading((given,), free=tuple(words))


def _lacks_value(name: str) -> _Reading:
    return _Reading(problems=(Problem("a value is missing", f"--{name}"),))
