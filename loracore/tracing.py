"""Every call of a hook as lines of text: when, with what, who answers, with what, and how long it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from loracore.errors import printable
from loracore.plugin_faults import wanted_answer
from loracore.trace_words import described

#: Takes one line, without its end.
Say = Callable[[str], None]
Answers = Sequence[pluggy.HookImpl]


def trace(manager: pluggy.PluginManager, say: Say, clock: Callable[[], float] = time.perf_counter) -> None:
    """Have every hook call of a run told from now on: a line when it begins, and one when it has its answer.

    Times are seconds since this call of `trace`; a hook call inside another is indented. Nothing is read back from a
    device, so that the time of work on one is the time until it was handed over.
    """
    told = _Trace(manager.hook, say, clock)
    manager.add_hookcall_monitoring(told.before, told.after)


def say_on_stderr(line: str) -> None:
    """Write a line to stderr in one piece, so that threads do not mix theirs."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def asked(answers: Answers, *, first_counts: bool, none_is_fine: bool) -> str:
    """Return who is asked, in this order, and who wraps it.

    Of those whose first answer counts only the first, or, where he may give None, who is asked then.
    """
    inside = [_name(answer) for answer in reversed(answers) if not answer.wrapper and not answer.hookwrapper]
    around = [_name(answer) for answer in reversed(answers) if answer.wrapper or answer.hookwrapper]
    heard = (" else " if first_counts else ", ").join(inside[:1] if first_counts and not none_is_fine else inside)
    heard = heard or "nobody"
    return f"{heard}, wrapped by {', '.join(around)}" if around else heard


class _Begun(threading.local):
    """When each call began that is going on in this thread, the outermost first."""

    def __init__(self) -> None:
        self.times: list[float] = []


class _Trace:
    """The calls that are going on."""

    def __init__(self, hook: pluggy.HookRelay, say: Say, clock: Callable[[], float]) -> None:
        self._hook = hook
        self._say = say
        self._clock = clock
        self._start = clock()
        self._begun = _Begun()

    def before(self, name: str, _answers: Answers, arguments: Mapping[str, Any]) -> None:
        """Tell that a hook is called, and with what."""
        self._line(f"{name}({', '.join(f'{key}={described(value)}' for key, value in arguments.items())})")
        self._begun.times.append(self._clock())

    def after(self, result: pluggy.Result[Any], name: str, answers: Answers, _arguments: Mapping[str, Any]) -> None:
        """Tell what came of it, how long it took and who answered."""
        took = 1000 * (self._clock() - self._begun.times.pop())
        spec = vars(self._hook)[name].spec
        none_is_fine = spec is not None and not wanted_answer(spec.function)
        who = asked(answers, first_counts=bool(spec and spec.opts.get("firstresult")), none_is_fine=none_is_fine)
        if result.exception is not None:
            given = f"raised {type(result.exception).__name__}"
        else:
            given = described(result.get_result())
        self._line(f"{name} = {given}  {took:.1f} ms  {who}")

    def _line(self, text: str) -> None:
        indent = "  " * len(self._begun.times)
        self._say(f"{self._clock() - self._start:8.3f} s  {indent}{printable(text)}")


def _name(answer: pluggy.HookImpl) -> str:
    core = "default loracore.defaults."
    name = answer.plugin_name
    return f"core ({name.removeprefix(core)})" if name.startswith(core) else name
