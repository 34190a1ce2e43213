"""What a plugin gets wrong when it is asked: it raises, or gives None where an answer is needed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pluggy

from loracore.errors import LoracoreError, PluginError

#: Attribute of an error: the line that says which plugin raised it; empty when it was the core.
_BLAME = "__loracore_plugin__"

Implementation = Callable[..., Any]
#: An implementation that wraps others: it yields once, and gets their answer.
Wrapper = Generator[None, Any, Any]


def watch(manager: pluggy.PluginManager, plugin: object, title: str) -> None:
    """Have every answer of a registered plugin looked at, from now on.

    What it raises is known for its own, see `blamed`; None where the specification needs an answer raises PluginError,
    and so does a wrapper that does not yield once. ``title`` names the plugin to the user: kind, name, package and
    version; it is empty for the core.
    """
    for caller in manager.get_hookcallers(plugin) or ():
        for answer in caller.get_hookimpls():
            if answer.plugin is plugin and caller.spec is not None:
                wanted = "" if answer.hookwrapper else wanted_answer(caller.spec.function)
                watched = _Watched(answer.function, caller.name, title, wanted)
                wraps_others = answer.wrapper or answer.hookwrapper
                # pluggy has no other place between its loop and one plugin's answer
                answer.function = watched.wrapper() if wraps_others else watched.plain()  # type: ignore[misc]


def blamed(error: BaseException) -> str:
    """Return the line that names the plugin and the hook that an error comes from; empty where it is no plugin's."""
    seen: BaseException | None = error
    while seen is not None and _BLAME not in vars(seen):
        seen = seen.__cause__
    return "" if seen is None else str(vars(seen)[_BLAME])


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

    def plain(self) -> Implementation:
        """Return the implementation, with what is wrong of its answers made an error."""

        @wraps(self.function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                answer = self.function(*args, **kwargs)
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
                answer = yield from self._yielding_once(self.function(*args, **kwargs))
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
        if not isinstance(error, LoracoreError):
            vars(error).setdefault(_BLAME, f"{self.title} fails in the hook '{self.hook}':" if self.title else "")

    def _fault(self, does: str, fix: str) -> PluginError:
        whose = self.title or "the core"
        return PluginError(f"{whose} {does} the hook '{self.hook}'", where=place(self.function), fix=fix)
