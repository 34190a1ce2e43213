"""What a plugin gets wrong when it is asked: it raises, or gives None where an answer is needed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import Any

import pluggy

from loracore.errors import LoracoreError, PluginError, Problem, did_you_mean
from loracore.plugin_packages import raiser

#: Attribute of an error: the line that says which plugin raised it; empty when it was the core.
_BLAME = "__loracore_plugin__"
#: Attribute of a watched implementation: the title of its plugin; empty for the core.
_TITLE = "__loracore_title__"
_NOBODY: Mapping[str, str] = MappingProxyType({})

Implementation = Callable[..., Any]
#: An implementation that wraps others: it yields once, and gets their answer.
Wrapper = Generator[None, Any, Any]


def watch(manager: pluggy.PluginManager, plugin: object, title: str, run: Mapping[str, str] = _NOBODY) -> None:
    """Have every answer of a registered plugin looked at, from now on.

    What it raises is known for its own, see `blamed`, or for that of another plugin of the ``run`` (titles by modules)
    whose code it was. None where the specification needs an answer raises PluginError, and so does a wrapper that does
    not yield once, or whoever ends the program. A generator as an answer is read at once. ``title`` names the plugin to
    the user: kind, name, package and version; it is empty for the core.
    """
    for caller in manager.get_hookcallers(plugin) or ():
        for answer in caller.get_hookimpls():
            if answer.plugin is plugin and caller.spec is not None:
                wanted = "" if answer.hookwrapper else wanted_answer(caller.spec.function)
                watched = _Watched(answer.function, caller.name, title, wanted, run)
                wraps_others = answer.wrapper or answer.hookwrapper
                # pluggy has no other place between its loop and one plugin's answer
                answer.function = watched.wrapper() if wraps_others else watched.plain()  # type: ignore[misc]
                vars(answer.function)[_TITLE] = title


def blamed(error: BaseException, plugins: Mapping[str, str] = _NOBODY) -> str:
    """Return the line that names the plugin, and the hook, that an error comes from; empty where it is no plugin's.

    ``plugins`` are titles by modules: of those whose code may have been called outside of a hook.
    """
    chain = [error]
    while chain[-1].__cause__ is not None and chain[-1].__cause__ not in chain:
        chain.append(chain[-1].__cause__)
    noted = [str(vars(one)[_BLAME]) for one in chain if _BLAME in vars(one)]
    if noted:
        return noted[0]
    titles = [title for one in reversed(chain) if (title := raiser(one, plugins))]
    return f"{titles[0]} fails:" if titles else ""


def wrong_answer(caller: pluggy.HookCaller, does: str, fix: str) -> PluginError:
    """Return the error of a hook's answer that only the core can see to be wrong, with everybody who made it.

    ``does`` is what is wrong of it, in words: "gives 3 factors for 2 samples as its answer to". Of a hook whose first
    answer counts, that are the first to answer and those who wrap it.
    """
    inside, around = _answering(caller)
    first = bool(caller.spec and caller.spec.opts.get("firstresult"))
    makers = [*(inside[:1] if first else inside), *around]
    titles = dict.fromkeys(title_of(one.function) for one in makers)
    whose = " or ".join(title or "the core" for title in titles) or "nobody"
    where = place(makers[0].function) if len(makers) == 1 else ""
    return PluginError(f"{whose} {does} the hook '{caller.name}'", where=where, fix=fix)


def _answering(caller: pluggy.HookCaller) -> tuple[list[pluggy.HookImpl], list[pluggy.HookImpl]]:
    """Return who is asked and who wraps, each in the order in which they are asked."""
    every = list(reversed(caller.get_hookimpls()))
    wrappers = [one for one in every if one.wrapper or one.hookwrapper]
    return [one for one in every if one not in wrappers], wrappers


def answers_by_makers(
    caller: pluggy.HookCaller, answers: Any
) -> Iterator[tuple[Any, Callable[[str, str], PluginError]]]:
    """Give each answer of a hook that everybody answers, with what makes an error of it: `wrong_answer` of its maker.

    Where wrappers have changed how many there are, nobody knows whose is which: then all are named.
    """
    inside, _ = _answering(caller)

    def of_all(does: str, fix: str) -> PluginError:
        return wrong_answer(caller, does, fix)

    if not isinstance(answers, list):
        raise of_all(
            f"makes {type(answers).__name__}, and no list, of the answers to", "return the list that yield gives"
        )
    for index, answer in enumerate(answers):
        maker = inside[index] if len(inside) == len(answers) else None
        yield answer, of_all if maker is None else _Maker(maker.function, caller.name).error


def title_of(function: Implementation) -> str:
    """Return the title of the plugin whose watched implementation this is; empty for the core."""
    return str(vars(function).get(_TITLE, "")) if hasattr(function, "__dict__") else ""


def unknown_hook(name: str, hooks: Collection[str], used: Collection[str] = ()) -> Problem:
    """Return what is wrong of a hook that no specification has, and its cure; ``used`` are those a plugin has."""
    missing = [hook for hook in hooks if hook not in used]
    fix = did_you_mean(name, missing) or did_you_mean(name, hooks) or "see docs/hooks.md for their names"
    return Problem("no hook has this name, so that nobody calls it", fix=fix)


def place(function: Implementation) -> str:
    """Return ``file:line`` of a hook's implementation, watched or not."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def wanted_answer(specification: Implementation) -> str:
    """Return what a hook's implementation must return, in the specification's words; empty where None is fine.

    None is fine for hooks that are told, and where the annotation says so.
    """
    returned = specification.__annotations__.get("return", "None")
    if "None" in re.findall(r"\w+", str(returned)):
        return ""
    said = (inspect.getdoc(specification) or str(returned)).partition("\n")[0]
    return said[:1].lower() + said[1:].rstrip(".")


@dataclass(frozen=True, slots=True)
class _Watched:
    """One plugin's implementation of a hook."""

    function: Implementation
    hook: str
    title: str  # of the plugin; empty for the core
    wanted: str  # what it must return; empty where None is fine
    run: Mapping[str, str]  # titles of all plugins of the run, by their modules

    def plain(self) -> Implementation:
        """Return the implementation, with what is wrong of its answers made an error."""

        @wraps(self.function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                answer = _read(self.function(*args, **kwargs))
            except SystemExit as error:
                raise self._ends(error) from error
            except Exception as error:
                self._blame(error)
                raise
            if answer is None and self.wanted:
                raise self._fault("gives None as its answer to", self.wanted)
            return answer

        return watched

    def wrapper(self) -> Implementation:
        """Return the implementation of one that wraps others; what comes from these passes as it is."""

        @wraps(self.function)
        def watched(*args: Any, **kwargs: Any) -> Wrapper:
            try:
                answer = _read((yield from self._yielding_once(self.function(*args, **kwargs))))
            except SystemExit as error:
                raise self._ends(error) from error
            except Exception as error:
                self._blame(error)  # unless whoever was asked inside has the blame already
                raise
            if answer is None and self.wanted:
                fix = "return what the yield gives, or another answer: answer = yield; return answer"
                raise self._fault("wraps, and returns None from,", fix)
            return answer

        return watched

    def _yielding_once(self, wrapper: Wrapper) -> Wrapper:
        try:
            next(wrapper)
        except StopIteration:
            raise self._fault("wraps without a yield", "yield once, whatever happens: answer = yield") from None
        try:
            try:
                inner = yield
            except BaseException as error:  # noqa: BLE001  # whatever it is, the wrapper hears of it
                wrapper.throw(error)
            else:
                wrapper.send(inner)
        except StopIteration as end:
            return end.value
        wrapper.close()
        raise self._fault("yields a second time in", "yield once: answer = yield")

    def _blame(self, error: Exception) -> None:
        """Note on an error whose it is; the innermost of several says so first. What users can mend stays as it is."""
        if isinstance(error, LoracoreError) or _BLAME in vars(error):
            return
        own = f"{self.title} fails in the hook '{self.hook}':" if self.title else ""
        other = raiser(error, self.run)
        if other and self.title not in other.split(" or "):
            own = f"{other} fails, while {self.title or 'the core'} answers the hook '{self.hook}':"
        vars(error)[_BLAME] = own

    def _ends(self, error: SystemExit) -> PluginError:
        whose = raiser(error, self.run) or self.title or "the core"
        message = f"{whose} ends the program in the hook '{self.hook}': SystemExit: {error}"
        return PluginError(
            message, where=place(self.function), fix="raise an error of loracore instead: ConfigError(…)"
        )

    def _fault(self, does: str, fix: str) -> PluginError:
        whose = self.title or "the core"
        return PluginError(f"{whose} {does} the hook '{self.hook}'", where=place(self.function), fix=fix)


def _read(answer: Any) -> Any:
    """Return an answer; of one that would be made while it is read, a list, so that its errors are seen here."""
    return list(answer) if isinstance(answer, Iterator) else answer


@dataclass(frozen=True, slots=True)
class _Maker:
    """Who made one answer of several."""

    function: Implementation
    hook: str

    def error(self, does: str, fix: str) -> PluginError:
        """Return what `wrong_answer` does, of this one alone."""
        message = f"{title_of(self.function) or 'the core'} {does} the hook '{self.hook}'"
        return PluginError(message, where=place(self.function), fix=fix)
