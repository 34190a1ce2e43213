"""What an adapter gives a file and takes from it, and whether merging does what training did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from loracore.errors import DataError, LoracoreError
from loracore.networks.adapter import Adapter
from loracore.testing.contract.adapter_checks import answers
from loracore.testing.contract.adapter_trial import Trial, same_tensors
from loracore.testing.contract.faults import Fault
from loracore.testing.contract.tiny_layouts import applied
from loracore.types import LoraTarget

#: Layer and change make the same sums in two orders, of at most 54 products of float32 each.
_CLOSE = 1e-4
_FOREIGN = "raise DataError when names or shapes are not the adapter's own, before anything is taken over"


def file_faults(trial: Trial, *, merged: bool) -> Iterator[Fault]:
    """Give the faults of ``file_tensors``, ``load_file_tensors``, ``weight_change`` and ``limit_norm``.

    Merging is compared with ``forward`` only when that is sound (``merged``).
    """
    adapter = trial.new(trial.layout.target())
    checks = {
        "file_tensors": _of_tensors,
        "load_file_tensors": _of_loading,
        "weight_change": _of_change,
        "limit_norm": _of_norm,
    }
    for method, check in checks.items():
        if method == "weight_change" and not merged:
            continue
        found = list(trial.tried(adapter, method, partial(check, trial)))
        yield from found
        if found and method == "file_tensors":
            return


def _of_tensors(trial: Trial) -> Iterator[Fault]:
    adapter = trial.moved(trial.layout.target())
    tensors: Iterable[tuple[object, object]] = adapter.file_tensors().items()  # a stranger's may hold anything
    if not tensors:
        yield trial.fault(adapter, "file_tensors", "it is empty", "return every tensor that the file is to hold")
    wrong = [name for name, one in tensors if not isinstance(name, str) or not isinstance(one, Tensor)]
    if wrong:
        yield trial.fault(adapter, "file_tensors", f"{wrong} are no tensors under names", "return {name: tensor}")
        return
    bad = [name for name, one in adapter.file_tensors().items() if one.is_complex() or not one.isfinite().all()]
    if bad:
        yield trial.fault(adapter, "file_tensors", f"{bad} are not finite real numbers", "return real numbers")


def _of_loading(trial: Trial) -> Iterator[Fault]:
    target = trial.layout.target()
    trained = trial.moved(target)
    tensors = _copies(trained.file_tensors())
    fresh = trial.new(target, seed=2)
    fresh.load_file_tensors(_copies(tensors))
    taken = fresh.file_tensors()
    if set(taken) != set(tensors) or not same_tensors((taken[name] for name in tensors), tensors.values()):
        message = "a fresh adapter that loads a file's tensors does not give the same ones back"
        yield trial.fault(fresh, "load_file_tensors", message, "take over every tensor that file_tensors names")
    elif not _alike(trial, fresh, trained, target):
        message = "an adapter that is started from a file changes the layer otherwise than the one that was saved"
        yield trial.fault(fresh, "file_tensors", message, "return every tensor that the change depends on")
    half = trial.new(target, seed=2)
    before = [parameter.dtype for parameter in half.parameters()]
    half.load_file_tensors({name: one.bfloat16() for name, one in tensors.items()})
    if [parameter.dtype for parameter in half.parameters()] != before:
        message = "a file in half precision makes its parameters half precision too"
        yield trial.fault(half, "load_file_tensors", message, "copy_ the values, do not put the tensors in place")
    for what, foreign in _foreign(tensors).items():
        yield from _of_refusal(trial, trial.moved(target), what, foreign)
    for name in (name for name, one in tensors.items() if not one.dim()):
        other = {**tensors, name: tensors[name] + 1}
        yield from _of_refusal(trial, trial.moved(target), f"with another '{name}'", other, may_take=True)


def _of_refusal(
    trial: Trial, adapter: Adapter, what: str, tensors: Mapping[str, Tensor], *, may_take: bool = False
) -> Iterator[Fault]:
    """Look whether tensors that do not fit are refused, with an error that a user understands, before any is taken."""
    before = list(_copies(adapter.state_dict()).values())
    fresh = {name: one + 0.5 if one.is_floating_point() and one.dim() else one for name, one in tensors.items()}
    try:
        adapter.load_file_tensors(fresh)
    except LoracoreError:
        if not same_tensors(adapter.state_dict().values(), before):
            message = f"it refuses tensors {what}, but has taken over some of them"
            yield trial.fault(adapter, "load_file_tensors", message, _FOREIGN)
    except Exception as error:  # noqa: BLE001  # that is the fault
        message = f"raises {type(error).__name__} for tensors {what}"
        yield trial.fault(adapter, "load_file_tensors", message, _FOREIGN)
    else:
        if not may_take:
            yield trial.fault(adapter, "load_file_tensors", f"takes tensors {what}", _FOREIGN)


def _foreign(tensors: Mapping[str, Tensor]) -> dict[str, Mapping[str, Tensor]]:
    """Return tensors that are no file of this adapter, by what is wrong with them.

    A constant, such as alpha, may be left out; files of some trainers do.
    """
    large = [name for name, one in tensors.items() if one.dim()]
    longer = {name: torch.cat([tensors[name], tensors[name][:1]]) for name in large}
    return {
        "of other names": {f"other_{name}": one for name, one in tensors.items()},
        "with one name too many": {**tensors, "other": torch.ones(2, 2)},
        **{f"without '{name}'": {key: one for key, one in tensors.items() if key != name} for name in large},
        **{f"with '{name}' of another shape": {**tensors, name: one} for name, one in longer.items()},
    }


def _of_change(trial: Trial) -> Iterator[Fault]:
    """Compare what merging adds to a weight with what forward does, and the gradients that go on to the inputs."""
    target = trial.layout.target()
    adapter, inputs = trial.moved(target), trial.layout.inputs(0)
    if _changes(adapter, target) is None:
        return
    for index, layer in enumerate(target.layers):
        change = adapter.weight_change(index, [one.weight for one in target.layers])
        if change.shape != layer.weight.shape or change.dtype != torch.float32:
            message = f"returns {change.dtype} {list(change.shape)} for a weight of {list(layer.weight.shape)}"
            yield trial.fault(adapter, "weight_change", message, "return float32 in the shape of the layer's weight")
            return
        entering = inputs.clone().requires_grad_()
        live = adapter(index, entering, layer(entering), target.layers)
        merged = applied(layer, layer.weight + change, entering)
        if not _close(live, merged):
            message = "merging it into the weight is not what forward does"
            fix = "return what is to be added to this layer's weight, all factors and scales in it"
            yield trial.fault(adapter, "weight_change", message, fix)
            return
        slopes = [torch.autograd.grad(one.square().sum(), entering)[0] for one in (live, merged)]
        if not _close(*slopes):
            message = "the gradient that goes on to the inputs is not that of the merged weight"
            yield trial.fault(adapter, "forward", message, "let the answer depend on inputs without detach()")
            return


def _of_norm(trial: Trial) -> Iterator[Fault]:
    target = trial.layout.target()
    adapter = trial.moved(target)
    norm = _norm(adapter, target)
    if norm is None:
        return
    told = adapter.limit_norm(norm / 2)
    after = _norm(adapter, target) or 0.0
    if told is None:
        if after != norm:
            yield trial.fault(adapter, "limit_norm", "returns None but changes the weight", "return the norm before")
        return
    if told.dim() or abs(float(told.detach()) - norm) > _CLOSE * norm:
        message = f"returns {told.tolist()}, but the norm of the weight change is {norm:.6g}"
        yield trial.fault(adapter, "limit_norm", message, "return the norm (Frobenius) over all layers, as a scalar")
    if abs(after - norm / 2) > _CLOSE * norm:
        message = f"limits a norm of {norm:.6g} to {after:.6g}, where {norm / 2:.6g} was asked for"
        yield trial.fault(adapter, "limit_norm", message, "scale the tensors so that the norm becomes the limit")


def _changes(adapter: Adapter, target: LoraTarget) -> list[Tensor] | None:
    """Return what merging would add; None for an adapter that says that it cannot be merged."""
    weights = [layer.weight for layer in target.layers]
    try:
        with torch.no_grad():
            return [adapter.weight_change(index, weights).detach() for index in range(len(weights))]
    except DataError:
        return None


def _alike(trial: Trial, one: Adapter, other: Adapter, target: LoraTarget) -> bool:
    """Tell whether two adapters do the same to a layer's weight, or to its output where that is not to be had."""
    found, expected = _changes(one, target), _changes(other, target)
    if found is None or expected is None:
        inputs = trial.layout.inputs(0)
        found, expected = answers(one, target, inputs), answers(other, target, inputs)
    return all(torch.allclose(*pair, rtol=_CLOSE, atol=_CLOSE) for pair in zip(found, expected, strict=True))


def _norm(adapter: Adapter, target: LoraTarget) -> float | None:
    changes = _changes(adapter, target)
    return None if changes is None else float(torch.cat([change.flatten() for change in changes]).norm())


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * float(other.detach().abs().max()))


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in tensors.items()}
