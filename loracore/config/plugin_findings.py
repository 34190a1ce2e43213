"""What the plugins of a run say of its options, once before the data sets are known and once after."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loracore.config.config import Config
from loracore.errors import Problem

if TYPE_CHECKING:
    import pluggy


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """A config with the values that plugins imply, what is wrong with it, and notes for the run's header."""

    config: Config
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def plugin_findings(hook: pluggy.HookRelay, config: Config) -> Judged:
    """Return what ``check_options`` finds; options with implied values get them, and all are judged again with them."""
    findings = [finding for several in hook.check_options(config=config) for finding in several]
    implied = [finding for finding in findings if finding.fate == "implied"]
    told = tuple(str(finding.problem(config)) for finding in implied)
    values, before = {finding.option: finding.value for finding in implied}, dict(config)
    if any(before[name] != value for name, value in values.items()):
        judged = plugin_findings(hook, config.with_values(values))
        return replace(judged, notes=(*told, *(note for note in judged.notes if note not in told)))
    problems = tuple(finding.problem(config) for finding in findings if finding.fate in {"wrong", "unsupported"})
    notes = tuple(str(finding.problem(config)) for finding in findings if finding.fate == "without effect")
    return Judged(config, problems, notes)


def certain(problems: Iterable[Problem], doubtful: Collection[str]) -> tuple[Problem, ...]:
    """Return the problems that do not speak of options whose values do not fit: nobody knows what they should be."""
    named = ((one, set(re.findall(r"\w+", f"{one.where} {one.message} {one.fix}"))) for one in problems)
    return tuple(one for one, words in named if words.isdisjoint(doubtful))


def dataset_findings(
    hook: pluggy.HookRelay, config: Config, said: Collection[str] = ()
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return the problems and notes that ``check_options`` has of a config whose data sets are known.

    ``said`` are the notes of the first call, which are not said again. Problems of the first call are said again; but
    whoever had any does not come here. Values that data sets alone imply would come too late: the config is settled.
    """
    judged = plugin_findings(hook, config)
    return judged.problems, tuple(note for note in judged.notes if note not in said)
