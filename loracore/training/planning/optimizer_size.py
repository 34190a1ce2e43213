"""How many bytes an optimizer keeps of each parameter, learnt from the optimizer itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.config.options import TrainingOptions
from loracore.config.updates.optimizer_choice import choose_optimizer
from loracore.config.updates.optimizer_names import optimizer_name
from loracore.networks.rates import ParameterGroup
from loracore.training.updates.flat_adam import FlatAdam
from loracore.training.updates.optimizers import build_optimizer

#: Of bitsandbytes: a block of values shares a scale of 4 bytes, small parameters stay in 32 bits.
_BLOCK, _SMALL = 256, 4096

_Kind = tuple[tuple[int, ...], torch.dtype]


@dataclass(frozen=True, slots=True)
class OptimizerSize:
    """The bytes of an optimizer's state, and what is to be told of how they were found."""

    size: int
    notes: tuple[str, ...] = ()


def optimizer_size(groups: Sequence[ParameterGroup], training: TrainingOptions) -> OptimizerSize:
    """Return the bytes of the optimizer's state for all of these parameters.

    One parameter of each shape and dtype takes a step in host memory. Of an optimizer that cannot take it there,
    bitsandbytes' is counted by what its package says of it, any other as two values of 32 bits for each number, which
    is told.
    """
    parameters = [parameter for group in groups for parameter in group.parameters]
    counts = Counter((tuple(one.shape), one.dtype) for one in parameters)
    samples = {key: nn.Parameter(torch.full(key[0], 0.01, dtype=key[1])) for key in counts}
    optimizer = _stepped(list(samples.values()), training)
    if optimizer is None:
        known = choose_optimizer(training).module.startswith("bitsandbytes")
        told = _told if known else _usual
        size = sum(count * told(samples[key], training) for key, count in counts.items())
        note = (
            f"{optimizer_name(training)} took no step on the CPU: its state is counted as two float32 for each number"
        )
        return OptimizerSize(size, () if known else (note,))
    return OptimizerSize(_of_steps(optimizer, samples, counts))


def _of_steps(optimizer: Optimizer, samples: Mapping[_Kind, Tensor], counts: Mapping[_Kind, int]) -> int:
    return sum(count * _held(optimizer.state[samples[key]].values()) for key, count in counts.items())


def update_size(groups: Sequence[ParameterGroup], training: TrainingOptions, state: int, *, waits: bool) -> int:
    """Return the bytes that the optimizer's step takes beside weights, state and gradients.

    Flat buffers hold all gradients a second time. On a device that the host does not wait for, a step of any other
    optimizer can be taken back: weights and state are there twice.
    """
    parameters = [parameter for group in groups for parameter in group.parameters]
    size = _held(parameters)
    sample = nn.Parameter(torch.zeros(16))
    optimizer = build_optimizer([ParameterGroup("sample", groups[0].lr, (sample,))], training)
    if FlatAdam.fits(optimizer):
        return size
    return 0 if waits else size + state


def _stepped(parameters: Sequence[nn.Parameter], training: TrainingOptions) -> Optimizer | None:
    """Return the optimizer after one step, None where the host cannot take it."""
    optimizer = build_optimizer([ParameterGroup("sample", training.learning_rate or 1.0, tuple(parameters))], training)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    try:
        optimizer.step()
    except Exception:  # noqa: BLE001  # some lack kernels for the host, others want more than gradients: each in its way
        return None
    return optimizer


def _usual(parameter: Tensor, training: TrainingOptions) -> int:  # noqa: ARG001  # as `_told`
    """Return two values of 32 bits for each number: what Adam keeps."""
    return 8 * parameter.numel()


def _told(parameter: Tensor, training: TrainingOptions) -> int:
    """Return what bitsandbytes says of its optimizers: two values of 8 or 32 bits each, one for Lion and SGD."""
    name = optimizer_name(training)
    values = 1 if name.removeprefix("Paged").startswith(("Lion", "SGD")) else 2
    if name.endswith("8bit") and parameter.numel() >= _SMALL:
        return values * (parameter.numel() + 4 * -(-parameter.numel() // _BLOCK))
    return values * 4 * parameter.numel()


def _held(values: Iterable[object]) -> int:
    return sum(one.nbytes for one in values if isinstance(one, Tensor))
