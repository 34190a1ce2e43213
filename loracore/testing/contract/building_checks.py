"""What an adapter is when it has just been built: where it starts, what it trains, and what it holds."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from loracore.networks.adapter import Adapter
from loracore.testing.contract.adapter_trial import Trial, same_tensors
from loracore.testing.contract.faults import Fault

#: A fresh adapter may compute its zeros by other sums than the layer did.
_CLOSE = 1e-4


def building_faults(trial: Trial) -> Iterator[Fault]:
    """Give the faults of a fresh adapter; the others are looked for when there are none."""
    adapter = trial.new(trial.layout.target())
    if trial.new(trial.layout.target()) is adapter:
        message = "it returns the same adapter a second time"
        yield trial.subject.fault("build_adapter", message, "build a new one in every call, and keep none")
        return
    yield from trial.tried(adapter, "trained_parameters", lambda: _of_parameters(trial, adapter))
    yield from trial.tried(adapter, "rank", lambda: _of_sizes(trial, adapter))
    yield from trial.tried(adapter, "__init__", lambda: _of_start(trial, adapter))
    yield from trial.tried(adapter, "__init__", lambda: _of_meta(trial, adapter))
    yield from trial.tried(adapter, "__init__", lambda: _of_references(trial))


def _of_parameters(trial: Trial, adapter: Adapter) -> Iterator[Fault]:
    own = {id(parameter) for parameter in adapter.parameters()}
    trained: Sequence[object] = adapter.trained_parameters()  # a stranger's may be anything
    if not trained:
        yield trial.fault(adapter, "trained_parameters", "there are none", "return the parameters that are trained")
    if not {id(parameter) for parameter in trained} <= own:
        message = "it returns tensors that are no parameters of the adapter, so that they are never moved or saved"
        yield trial.fault(adapter, "trained_parameters", message, "register them: self.name = nn.Parameter(…)")
    if not all(isinstance(one, nn.Parameter) and one.requires_grad for one in trained):
        message = "it returns parameters that ask for no gradient"
        yield trial.fault(adapter, "trained_parameters", message, "leave the frozen ones out")
    up = {id(parameter) for parameter in adapter.up_parameters()}
    if not up <= {id(parameter) for parameter in trained}:
        message = "LoRA+ would speed up what is not trained"
        yield trial.fault(adapter, "up_parameters", message, "return some of trained_parameters(), or ()")


def _of_sizes(trial: Trial, adapter: Adapter) -> Iterator[Fault]:
    sizes: tuple[object, object] = adapter.rank, adapter.alpha_value  # a stranger's may be anything
    rank, alpha = sizes
    if not isinstance(rank, int) or rank < 1:
        yield trial.fault(adapter, "rank", f"it is {rank!r}", "return a whole number above 0")
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        yield trial.fault(adapter, "alpha_value", f"it is {alpha!r}", "return a float")


def _of_start(trial: Trial, adapter: Adapter) -> Iterator[Fault]:
    """Look whether seed and key alone decide about the start, and whether nothing is changed there."""
    again = trial.new(trial.layout.target())
    if not same_tensors(adapter.state_dict().values(), again.state_dict().values()):
        message = "two adapters of one target start differently under the same seed"
        fix = "draw from torch's global generator, which is seeded for each target, or from none"
        yield trial.fault(adapter, "__init__", message, fix)
    if _moves(trial, adapter):
        message = "a fresh adapter changes the layer's output, so that a run starts from a damaged model"
        fix = "start so that nothing changes, with a factor of zeros for instance"
        yield trial.fault(adapter, "__init__", message, fix)


def _moves(trial: Trial, adapter: Adapter) -> bool:
    """Tell whether an adapter changes a layer's numbers; answers of another form are looked at later."""
    target, inputs = trial.layout.target(), trial.layout.inputs(0)
    for index, layer in enumerate(target.layers):
        output = layer(inputs)
        with torch.no_grad():
            answer: object = adapter(index, inputs, output.clone(), target.layers)
        if not isinstance(answer, Tensor) or (answer.shape, answer.dtype) != (output.shape, output.dtype):
            continue
        if not torch.allclose(answer, output, rtol=_CLOSE, atol=_CLOSE):
            return True
    return False


def _of_meta(trial: Trial, adapter: Adapter) -> Iterator[Fault]:
    """Look at an adapter for layers on the meta device, as `loracore targets` asks for."""
    unread = trial.new(trial.layout.target(device="meta"))
    fix = "make every tensor on the device meta where the layers' weights are on it (weight.is_meta)"
    if not all(parameter.is_meta for parameter in unread.parameters()):
        yield trial.fault(adapter, "__init__", "it takes memory for a target on the meta device", fix)
    shapes, expected = ({name: one.shape for name, one in each.file_tensors().items()} for each in (unread, adapter))
    if shapes != expected:
        message = f"on the meta device the file's tensors would be {_told(shapes)}, else {_told(expected)}"
        yield trial.fault(adapter, "file_tensors", message, "names and shapes depend on the layers' shapes alone")


def _of_references(trial: Trial) -> Iterator[Fault]:
    """Look whether layers live on, or their weights do, when nobody but the adapter is left."""
    target = trial.layout.target()
    adapter = trial.new(target)
    weights = {layer.weight.untyped_storage().data_ptr() for layer in target.layers}
    shared = any(one.untyped_storage().data_ptr() in weights for one in adapter.state_dict().values())
    watched = [weakref.ref(one) for layer in target.layers for one in (layer, layer.weight)]
    del target
    gc.collect()
    if shared or any(one() is not None for one in watched):
        message = "it holds on to the target's layers or their weights, so that a freed model stays in memory"
        fix = "copy sizes out of the layers; forward gets the layers themselves"
        yield trial.fault(adapter, "__init__", message, fix)


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
