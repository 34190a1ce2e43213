"""A plugin's hooks, called one by one with the options of its run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pluggy
import torch

from loracore.config.config import Config
from loracore.config.datasets import read_datasets
from loracore.errors import LoracoreError, PluginError
from loracore.testing.contract.faults import CannotGoOn, Fault, any_error_is, raised_at
from loracore.testing.contract.subject import Subject
from loracore.types import Framing, Models, Part

CPU, META = torch.device("cpu"), torch.device("meta")


@dataclass(frozen=True, eq=False, slots=True)
class Bench:
    """A plugin, the plugins of its run, and that run's options, data sets included."""

    subject: Subject
    plugins: pluggy.PluginManager
    config: Config

    def ask(self, hook: str, kind: type | tuple[type, ...], **arguments: Any) -> Any:  # of one of these kinds
        """Return a run's answer to a hook.

        Raises CannotGoOn when the hook raises, or answers anything but these kinds of things.
        """
        asked: Callable[..., Any] = vars(self.plugins.hook)[hook]
        with any_error_is(partial(self._raised, hook)):
            answer = asked(**arguments, config=self.config)
        if not isinstance(answer, kind):
            wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            message = f"returns {'None' if answer is None else type(answer).__name__}, not {wanted}"
            raise CannotGoOn(self.fault(hook, message, f"return {wanted}"))
        return answer

    def _raised(self, hook: str, error: Exception) -> Fault:
        """Return the fault of a hook that raises, or that the core finds wanting."""
        if isinstance(error, PluginError):  # of what it gives, not where: it has given it
            return self.fault(hook, error.problems[0].message, error.problems[0].fix)
        fix = "mend what it says" if isinstance(error, LoracoreError) else "mend this line, or what it is given"
        return self.subject.raised(hook, fix, error)

    def load(self, *parts: Part, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Models:
        """Return parts of the base model; raises CannotGoOn when they cannot be had."""
        loaded: Models = self.ask("load_models", Models, parts=frozenset(parts), device=device, dtype=dtype)
        return loaded

    def answers(self, hook: str) -> bool:
        """Tell whether the plugin itself implements a hook."""
        return self.subject.answers(hook, self.plugins)

    def fault(self, hook: str, message: str, fix: str) -> Fault:
        """Return a fault of one of the plugin's hooks."""
        return self.subject.fault(hook, message, fix)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height that the run trains, in pixels."""
        return self.config.datasets[0].resolution

    def framings(self, count: int) -> tuple[Framing, ...]:
        """Return how pictures of that size were brought to it: not at all."""
        return (Framing(self.size, self.size, (0, 0), self.size),) * count


def bench(subject: Subject) -> Bench:
    """Return the run of a plugin, its options read; raises CannotGoOn when they cannot be."""
    with any_error_is(partial(unread, subject)):
        request = subject.request()
        datasets = read_datasets(request.config, request.document)
    return Bench(subject, request.plugins, request.config.with_datasets(datasets))


def unread(subject: Subject, error: Exception) -> Fault:
    """Return the fault of options that cannot be read: of ``check_options``, or of what the checks were given."""
    if not isinstance(error, LoracoreError):
        fix = "mend this line: it is asked with every default, and without data sets"
        return subject.raised("check_options", fix, error)
    problem = error.problems[0]
    named = re.search(r"the hook '(\w+)'", problem.message)
    if isinstance(error, PluginError) and named:
        return subject.fault(named[1], problem.message, problem.fix)
    fix = "give the options that its runs need, or mend check_options"
    return Fault("options of a run", raised_at(error, subject.plugin.module), str(error), fix)
