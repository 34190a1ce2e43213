"""What the plugins of a run say of its options, once before the data sets are known and once after."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from loracore.config.annotated_fields import adapter_of
from loracore.config.config import Config, Fate, Finding
from loracore.config.declared import declare
from loracore.config.values import converted, expected
from loracore.errors import PluginError, Problem, did_you_mean
from loracore.plugin_faults import answers_by_makers

if TYPE_CHECKING:
    import pluggy

#: How often values may be implied by values that were implied, in a run of many plugins; more often they never settle.
_ROUNDS = 10
#: Makes an error of an answer: what is wrong of it, and its cure.
Wrong = Callable[[str, str], PluginError]
_LIST = "return a list: return [Finding(…)]"


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """A config with the values that plugins imply, what is wrong with it, and notes for the run's header."""

    config: Config
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def plugin_findings(hook: pluggy.HookRelay, config: Config) -> Judged:
    """Return what ``check_options`` finds; options with implied values get them, and all are judged again with them.

    Raises PluginError for answers that are no findings, and for implied values that no option takes or that never
    settle.
    """
    told: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        found = list(_found(hook, config))
        findings = [finding for finding, _ in found]
        implied = {
            each.option: (_implied(each, config, wrong), wrong) for each, wrong in found if each.fate == "implied"
        }
        before = dict(config)
        moved = [name for name, (value, _) in implied.items() if before[name] != value]
        if not moved:
            problems = tuple(each.problem(config) for each in findings if each.fate in {"wrong", "unsupported"})
            notes = (str(each.problem(config)) for each in findings if each.fate == "without effect")
            return Judged(config, problems, (*told, *(note for note in notes if note not in told)))
        said = (str(each.problem(config)) for each in findings if each.fate == "implied")
        told = (*told, *(note for note in said if note not in told))
        config = config.with_values({name: value for name, (value, _) in implied.items()})
    raise implied[moved[0]][1](
        f"implies another value of '{moved[0]}' whenever it is asked, in",
        "imply a value that does not depend on the option itself",
    )


def _found(hook: pluggy.HookRelay, config: Config) -> Iterator[tuple[Finding, Wrong]]:
    """Give every finding, with what makes an error of it."""
    for answer, wrong in answers_by_makers(hook.check_options, hook.check_options(config=config)):
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            what = "one Finding" if isinstance(answer, Finding) else type(answer).__name__
            raise wrong(f"gives {what}, and no list of them, as its answer to", _LIST)
        for finding in answer:
            if not isinstance(finding, Finding):
                raise wrong(f"gives {type(finding).__name__} {finding!r}, which is no Finding, in its answer to", _LIST)
            if not isinstance(finding.option, str):
                raise wrong(f"gives a Finding of {finding.option!r} to", "its second part is the name of an option")
            if finding.fate not in get_args(Fate):
                raise wrong(f"gives a Finding of the fate {finding.fate!r} to", f"it is one of {get_args(Fate)}")
            yield finding, wrong


def _implied(finding: Finding, config: Config, wrong: Wrong) -> Any:
    """Return an implied value as its option takes it."""
    name = finding.option
    table = next((one for one in config.tables if name in {field.name for field in fields(one)}), None)
    if table is None:
        fix = did_you_mean(str(name), dict(config)) or "imply an option that the run has"
        raise wrong(f"implies the option {name!r}, which this run has not, in", fix)
    option = declare([("", [table])]).options[name]
    try:
        value = finding.value if finding.value is None else converted(option, finding.value)
        checked = adapter_of(table).validate_python({name: value})
    except (ValueError, ValidationError) as error:
        says = f"implies {'a value' if option.secret else repr(finding.value)} for '{name}', in"
        raise wrong(says, f"'{name}' must be {expected(option)}") from error
    return dict(Config([checked], {}))[name]


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
