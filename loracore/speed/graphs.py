"""CUDA graphs: a module's kernels, forward and backward, recorded once for each shape of its inputs and replayed after.

A replay costs the host one launch where the module cost it thousands. It reads and writes always the same memory: what
goes in is copied to where the recording reads it, what comes out is copied away before the next replay overwrites it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten  # diffusers and transformers stand on it too

from loracore.speed.attention import lacks_kernel
from loracore.speed.news import News

#: As many shapes of its inputs a module is recorded for: one for each bucket, and batch size.
SHAPES = 16

#: A module's forward as a function of its tensors alone.
Tensors = Sequence[Tensor]
Pass = Callable[[Tensors], Tensors]


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """A forward and a backward pass that can be replayed, and the memory that both read and write."""

    inputs: Tensors  # read by the forward pass
    outputs: Tensors  # written by it
    output_gradients: Tensors  # read by the backward pass: one for each output
    input_gradients: Sequence[Tensor | None]  # written by it: one for each input, None where none is wanted
    flat: Tensor | None  # written by it: the gradients of the parameters, one behind the other
    shapes: Sequence[torch.Size | None]  # of each parameter's gradient in ``flat``; None: it has none
    replay_forward: Callable[[], None]
    replay_backward: Callable[[], None]


#: Records a pass over copies of these tensors, with gradients of those that want them and of the parameters.
Record = Callable[[Pass, Tensors, Sequence[nn.Parameter]], Recording]


class GraphedModule:
    """Stands in front of a module's ``forward``; adds nothing to it but speed.

    Recorded are calls with gradients on, for the first shapes that come. All else is computed as it was: calls without
    gradients, shapes beyond ``SHAPES``, a call while the backward pass of the one before is still to come (its
    activations lie where the next replay writes), and everything once recording has failed, which is said. What
    ``record`` raises beside RuntimeError ends the run.
    """

    def __init__(
        self,
        eager: Callable[..., Any],
        parameters: Sequence[nn.Parameter],
        record: Record,
        news: News,
        state: Callable[[], object],
        prepared: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._eager = eager
        self._parameters = parameters  # trained ones; frozen weights stay where they are
        self._record = record
        self._news = news
        self._state = state  # what, beside the arguments, a pass is made for: another state is another recording
        self._prepared = prepared  # what every pass stands in
        self.recordings: dict[object, tuple[Recording, TreeSpec] | None] = {}
        self._places: list[int] = []
        self._open: Callable[[], object | None] = _nobody  # the call whose backward pass is still to come
        self._broken = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns."""
        leaves, form = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if self._broken or not torch.is_grad_enabled() or self._open() is not None:
            return self._computed(args, kwargs)
        self._forget_moved()
        key = _key(leaves, form, self._state())
        if not _hashable(key):
            self._give_up("it is called with values that cannot be hashed")
            return self._computed(args, kwargs)
        if key not in self.recordings:
            self.recordings[key] = self._recorded(leaves, form)
        found = self.recordings[key]
        if found is None:
            return self._computed(args, kwargs)
        recording, out_form = found
        call = _Call()
        self._open = weakref.ref(call)
        outputs = _Replay.apply(recording, call, len(tensors), *tensors, *self._parameters)  # type: ignore[no-untyped-call]  # torch's own
        return tree_unflatten(list(outputs), out_form)

    def _computed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        with self._prepared():
            return self._eager(*args, **kwargs)

    def _give_up(self, reason: str) -> None:
        """Record nothing any more, and say why."""
        self._broken = True
        self._news.say(f"cuda_graphs: recording failed, the run goes on without: {reason}")

    def _forget_moved(self) -> None:
        """Forget all recordings when a parameter has moved: they read where it was."""
        places = [parameter.data_ptr() for parameter in self._parameters]
        if places != self._places:
            self._places = places
            self.recordings.clear()

    def _recorded(self, leaves: Sequence[Any], form: TreeSpec) -> tuple[Recording, TreeSpec] | None:
        """Return a recording of the call and the form of what it returns; None where there is none, which is said."""
        if len(self.recordings) >= SHAPES:
            self._news.say(f"cuda_graphs: {SHAPES} shapes are recorded; further ones are computed one kernel at a time")
            return None
        forms: list[TreeSpec] = []

        def run(tensors: Tensors) -> Tensors:
            coming = iter(tensors)
            args, kwargs = tree_unflatten([next(coming) if isinstance(one, Tensor) else one for one in leaves], form)
            outputs, out_form = tree_flatten(self._computed(args, kwargs))
            if not all(isinstance(one, Tensor) for one in outputs):
                message = "the module gives other things than tensors"
                raise RuntimeError(message)
            forms.append(out_form)
            return outputs

        started = perf_counter()
        try:
            recording = self._record(run, [one for one in leaves if isinstance(one, Tensor)], self._parameters)
        except RuntimeError as error:  # in the passes before the recording: out of memory, as a rule
            if lacks_kernel(error):  # no fault of the recording: whoever chose among the kernels knows what to do
                raise
            self._give_up(str(error).strip().partition("\n")[0])
            return None
        sizes = ", ".join("x".join(map(str, one.shape)) for one in recording.inputs[:1])
        self._news.say(f"cuda_graphs: recorded for inputs of {sizes} in {perf_counter() - started:.1f} s")
        return recording, forms[-1]


class _Call:
    """One replayed forward pass, as long as its backward pass may come."""


def _nobody() -> None:
    """Return None, as a dead reference does."""


def _hashable(key: object) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _key(leaves: Sequence[Any], form: TreeSpec, state: object) -> object:
    """Return what two calls have in common that one recording serves; other values than tensors must be hashable."""
    said = [
        (leaf.shape, leaf.dtype, leaf.device, leaf.requires_grad) if isinstance(leaf, Tensor) else leaf
        for leaf in leaves
    ]
    return (form, state, *said)


class _Replay(torch.autograd.Function):
    """Replays a recording as one node of the autograd graph."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, call: _Call, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        # ``tensors`` are the inputs, ``count`` in number, and the parameters, whose gradients the backward pass gives.
        for place, tensor in zip(recording.inputs, tensors[:count], strict=True):
            place.detach().copy_(tensor)
        recording.replay_forward()
        ctx.recording, ctx.call = recording, call
        return tuple(output.clone() for output in recording.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        recording: Recording | None = ctx.recording
        if recording is None:
            message = "a recorded pass has no second backward pass: its activations are gone"
            raise RuntimeError(message)
        for place, gradient in zip(recording.output_gradients, gradients, strict=True):
            place.copy_(gradient)
        recording.replay_backward()
        inputs = [one if one is None else one.clone() for one in recording.input_gradients]
        parameters = _parted(recording)
        ctx.recording = ctx.call = None  # the memory is the next call's
        return (None, None, None, *inputs, *parameters)


def _parted(recording: Recording) -> list[Tensor | None]:
    """Return each parameter's gradient, in memory of this backward pass's own.

    autograd keeps what it is given as ``.grad`` without a copy: views of the recording's memory would change with the
    next replay, while gradients are still being added up.
    """
    if recording.flat is None:
        return [None for _ in recording.shapes]
    sizes = [0 if shape is None else shape.numel() for shape in recording.shapes]
    parts = torch.split(recording.flat.clone(), sizes)
    return [None if shape is None else part.view(shape) for part, shape in zip(parts, recording.shapes, strict=True)]
