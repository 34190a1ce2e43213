"""A hook asked again and again: it answers alike, keeps nothing between calls, and writes into nothing it is given."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.faults import Fault


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """What a hook is asked, with new arguments each time: an rng goes on where the last call left it."""

    hook: str
    kind: Any  # of the answer
    arguments: Callable[[], Mapping[str, Any]]

    def put(self, bench: Bench, seed: int = 1, arguments: Mapping[str, Any] | None = None) -> Any:
        """Return the answer, given while every global generator starts from ``seed``."""
        with global_seed(seed):
            return bench.ask(self.hook, self.kind, **(self.arguments() if arguments is None else arguments))


def purity_faults(bench: Bench, question: Question, other: Question | None = None) -> Iterator[Fault]:
    """Give what keeps a hook from being a function of its arguments.

    It is asked twice, then ``other`` arguments in between, then the first again; these answers must be equal bit for
    bit, whatever the global generators hold, and no tensor among the arguments may change. Nor may the call move a
    global generator: what it draws may count in one batch of a thousand.
    """
    hook, arguments = question.hook, question.arguments()
    before = copied(arguments)
    with global_seed(1):
        states = generator_states()
        first = copied(bench.ask(hook, question.kind, **arguments))  # before later calls can write into it
        moved = [name for name, state in generator_states().items() if state != states[name]]
    written = differing(before, tensors_in(arguments))
    if written:
        message = f"writes into what it is given: {', '.join(written)}"
        yield bench.fault(hook, message, "make a new tensor: other hooks read this one, and caches keep it")
        return
    if moved:
        yield _drawing(bench, question, f"draws from a global generator ({', '.join(moved)})")
        return
    second = question.put(bench, seed=2)
    if differing(first, tensors_in(second)):
        yield _unsteady(bench, question, first)
    elif other is not None:
        other.put(bench)
        if differing(first, tensors_in(question.put(bench))):
            message = "keeps something between calls: a, then b, then a again gives another answer for a"
            fix = "keep nothing in the module or the models: what a hook needs comes in as an argument"
            yield bench.fault(hook, message, fix)


def _unsteady(bench: Bench, question: Question, first: Mapping[str, Tensor]) -> Fault:
    """Return the fault of a hook that answers the same question in two ways."""
    if not differing(first, tensors_in(question.put(bench))):
        return _drawing(bench, question, "draws from a global generator: the same arguments give another answer")
    message = "answers differ for the same arguments: something is kept between calls, or drawn from no seed"
    return bench.fault(question.hook, message, "answer by the arguments alone, and draw from rng")


def _drawing(bench: Bench, question: Question, message: str) -> Fault:
    fix = "draw from rng" if "rng" in question.arguments() else "draw in the hooks that have an rng, from that"
    return bench.fault(question.hook, message, fix)


def generator_states() -> Mapping[str, bytes]:
    """Return where the global generators of torch, numpy and Python stand."""
    kind, numbers, *counts = np.random.get_state()  # noqa: NPY002  # the one that must not be used
    return {
        "torch's": torch.get_rng_state().numpy().tobytes(),
        "numpy's": repr((kind, counts)).encode() + np.asarray(numbers).tobytes(),
        "Python's": repr(random.getstate()).encode(),
    }


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Have the global generators of torch, numpy and Python start from a seed, and put them back afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002  # the one that must not be used
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # as above
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002  # as above
            random.setstate(python_state)


def tensors_in(value: object, name: str = "") -> dict[str, Tensor]:
    """Return every tensor and picture in stages, mappings and sequences, by its path ("batch.latents")."""
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, Image):
        return {name: torch.from_numpy(np.array(value))}
    inner: Mapping[str, object] = {}
    if is_dataclass(value):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, Mapping):
        inner = {str(key): one for key, one in value.items()}
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        inner = {str(number): one for number, one in enumerate(value)}
    found: dict[str, Tensor] = {}
    for key, one in inner.items():
        found |= tensors_in(one, f"{name}.{key}" if name else key)
    return found


def copied(value: object) -> dict[str, Tensor]:
    """Return copies of every tensor in a value, by its path."""
    return {name: tensor.detach().clone() for name, tensor in tensors_in(value).items()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Return the paths of tensors that are not in both, or not equal bit for bit (NaN equals NaN)."""
    names = [*one, *(name for name in other if name not in one)]
    return [name for name in names if name not in one or name not in other or not _equal(one[name], other[name])]


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # noqa: PLR0124  # NaN alone is not itself
