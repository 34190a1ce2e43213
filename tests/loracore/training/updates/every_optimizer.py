"""Every optimizer that options can name, over a few parameters of several shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore import TrainingOptions
from loracore.config.updates.optimizer_names import NAMED, REFUSED, TORCH_OPTIMIZERS
from loracore.networks.rates import ParameterGroup
from loracore.training.updates.optimizers import build_optimizer

PATHS = (
    "bitsandbytes.optim.AdEMAMix8bit",
    "prodigyplus.ProdigyPlusScheduleFree",
    "pytorch_optimizer.CAME",
    "pytorch_optimizer.ScheduleFreeAdamW",
)
NAMES = (*(one.name for one in NAMED), *(one for one in TORCH_OPTIMIZERS if one not in {*REFUSED, "Adafactor"}), *PATHS)


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Large enough for 8-bit states, zero as up factors are, and small."""
    torch.manual_seed(0)
    return [nn.Parameter(one.to(dtype)) for one in (torch.randn(64, 80), torch.zeros(8, 4), torch.randn(4, 5))]


def built(name: str, several: Sequence[nn.Parameter], **options: Any) -> Optimizer:
    groups = [ParameterGroup("unet", 1.0, (*several[:2],)), ParameterGroup("te1", 1.0, (*several[2:],))]
    # D-Adaptation and Prodigy begin with steps of a millionth, which bf16 does not show.
    arguments = ("d0=0.01",) if name.startswith(("DAdapt", "Prodigy", "prodigyplus")) else ()
    training = TrainingOptions(optimizer_type=name, learning_rate=1.0, optimizer_args=arguments, **options)
    return build_optimizer(groups, training)


def step(optimizer: Optimizer, number: int) -> None:
    """Step with the gradients of this number."""
    give_gradients(optimizer, number)
    with quietly():
        optimizer.step()


def give_gradients(optimizer: Optimizer, number: int) -> None:
    """Give gradients that follow from the number, as what is drawn in a step of a run does.

    To each optimizer its own: some compute in their place.
    """
    torch.manual_seed(number)
    for group in optimizer.param_groups:
        for one in group["params"]:
            one.grad = torch.randn(one.shape).to(one.dtype)


@contextmanager
def quietly() -> Iterator[None]:
    """Let packages warn: of pages that a CPU has not, of torch's functions that they still call by old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tensors(state: Any) -> Iterator[Tensor]:
    """Give every tensor in plain data."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list):
        for one in state.values() if isinstance(state, dict) else state:
            yield from tensors(one)
