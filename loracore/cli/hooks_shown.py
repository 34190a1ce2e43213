"""``loracore plugins --hooks``: for one run, hook by hook, who answers in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import pluggy

from loracore import hookspecs
from loracore.plugin_faults import place, wanted_answer
from loracore.plugins import InstalledPlugin

#: What becomes of an implementation: it stands around the others, it answers, it is asked after None alone, or never.
Part = Literal["wraps", "answers", "asked after None", "not asked"]


@dataclass(frozen=True, slots=True)
class Answerer:
    """One implementation of a hook, in the order in which they are asked."""

    plugin: str  # "architecture NAME", "network NAME", "extension NAME", "core"
    origin: str  # package and version
    part: Part
    where: str  # file:line


@dataclass(frozen=True, slots=True)
class HookShown:
    """A hook, and whom a run asks for it."""

    hook: str
    first_counts: bool  # else everybody is asked
    answerers: tuple[Answerer, ...]

    @property
    def by_default_alone(self) -> bool:
        return bool(self.answerers) and all(each.plugin == "core" for each in self.answerers)


def shown_hooks(manager: pluggy.PluginManager, plugins: Mapping[str, InstalledPlugin]) -> Sequence[HookShown]:
    """Return every hook in the order in which a run calls them; ``plugins`` are the run's, by their manager's names."""
    callers = (vars(manager.hook).get(name) for name in vars(hookspecs))
    return [_shown(caller, plugins) for caller in callers if isinstance(caller, pluggy.HookCaller)]


def as_objects(hooks: Sequence[HookShown]) -> Sequence[Mapping[str, object]]:
    """Return the hooks for JSON."""
    return [{**asdict(hook), "by_default_alone": hook.by_default_alone} for hook in hooks]


def as_lines(hooks: Sequence[HookShown]) -> Sequence[str]:
    """Return the hooks for people: those that somebody beside the core answers, then the names of the others."""
    lines = []
    for hook in hooks:
        if hook.answerers and not hook.by_default_alone:
            lines.append(f"{hook.hook}  ({'the first answer counts' if hook.first_counts else 'everybody is asked'})")
            lines += [f"    {_words(each)}" for each in hook.answerers]
    defaults = [hook.hook for hook in hooks if hook.by_default_alone]
    nobody = [hook.hook for hook in hooks if not hook.answerers]
    lines += [f"by the core alone: {', '.join(defaults)}"] if defaults else []
    return [*lines, *([f"by nobody: {', '.join(nobody)}"] if nobody else [])]


def _shown(caller: pluggy.HookCaller, plugins: Mapping[str, InstalledPlugin]) -> HookShown:
    first_counts = bool(caller.spec and caller.spec.opts.get("firstresult"))
    none_is_fine = caller.spec is None or not wanted_answer(caller.spec.function)
    answerers, answered = [], False
    for answer in reversed(caller.get_hookimpls()):
        part = _part(answer, behind=answered and first_counts, none_is_fine=none_is_fine)
        answered = answered or part == "answers"
        plugin = plugins.get(answer.plugin_name)
        who, origin = ("core", "loracore") if plugin is None else (f"{plugin.kind} {plugin.name}", plugin.origin)
        answerers.append(Answerer(who, origin, part, place(answer.function)))
    return HookShown(caller.name, first_counts, tuple(answerers))


def _part(answer: pluggy.HookImpl, *, behind: bool, none_is_fine: bool) -> Part:
    if answer.wrapper or answer.hookwrapper:
        return "wraps"
    if not behind:
        return "answers"
    return "asked after None" if none_is_fine else "not asked"


def _words(each: Answerer) -> str:
    origin = "" if each.plugin == "core" else f" ({each.origin})"
    part = "" if each.part == "answers" else f", {each.part}"
    return f"{each.plugin}{origin}{part}  {each.where}"
