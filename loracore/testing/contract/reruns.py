"""A run taken twice, and a run taken in two parts: both must end in the same file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from safetensors.torch import load_file
from torch import Tensor

from loracore.hookspecs import hookimpl
from loracore.testing.contract.faults import CannotGoOn, Fault, any_error_is, place
from loracore.testing.contract.subject import Subject
from loracore.training.run import Run
from loracore.training.steps.control import Interrupted

_SEED = "draw from what a hook is given as rng only, and keep nothing between two runs"
_RESUME = "keep nothing between two steps that the file's tensors and the optimizer do not hold"
_LOOSE = "mend it; the toys of loracore.testing answer the other hooks"


def trained(subject: Subject, name: str, *watchers: object, **options: object) -> Mapping[str, Tensor]:
    """Return the tensors of the file that a run of a few steps leaves; raises CannotGoOn when it breaks off."""
    with any_error_is(partial(broken_off, subject)):
        return load_file(subject.train(name, *watchers, **options))


def broken_off(subject: Subject, error: Exception) -> Fault:
    """Return the fault that a run breaks off, with the plugin's own line and function."""
    frames, step = [], error.__traceback__
    while step is not None:
        frames.append(step.tb_frame.f_code)
        step = step.tb_next
    own = [code.co_name for code in frames if code.co_filename == subject.module.__file__]
    return subject.raised(own[-1] if own else "a run", _LOOSE, error)


def rerun_faults(subject: Subject, first: Mapping[str, Tensor]) -> Iterator[Fault]:
    """Give the fault of a run that is stopped behind its first step and resumed, or of one that is repeated.

    ``first`` are the tensors of the run that both are compared with: a run that ends alike in two parts needs not be
    repeated.
    """
    other = differing(first, trained(subject, "resumed", resume=_state(subject)))
    if not other:
        return
    where, again = place(subject.module), differing(first, trained(subject, "again"))
    if again:
        yield Fault("a run", where, f"two runs with the same seed end differently: {again}", _SEED)
    else:
        message = f"a run that is stopped behind step 1 and resumed ends otherwise than one that never was: {other}"
        yield Fault("a resumed run", where, message, _RESUME)


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """Return the first tensors that differ by name or bit, and how many do; an empty text where none does."""
    names = [name for name in one if name not in other or not torch.equal(one[name], other[name])]
    names += [name for name in other if name not in one]
    return f"{len(names)} of {len(one)} tensors, '{names[0]}' the first" if names else ""


class _Stop:
    """Interrupts a run behind its first step, as a signal does."""

    @hookimpl
    def step_done(self, run: Run, step: int) -> None:
        """Ask for it."""
        if step == 1:
            run.control.interrupt("contract")


def _state(subject: Subject) -> str:
    """Return the folder of the state behind step 1."""
    try:
        with any_error_is(partial(broken_off, subject)):
            subject.train("resumed", _Stop())
    except Interrupted as stop:
        if stop.state is not None:
            return str(stop.state)
    message = "a run that is stopped behind step 1 leaves no state"
    raise CannotGoOn(Fault("a resumed run", place(subject.module), message, _RESUME))
