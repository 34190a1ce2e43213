"""Optimizers without a course of rates, which train other weights than those to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer


def is_schedule_free(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer knows training and evaluation (Defazio et al. 2024, arXiv 2405.15682).

    Its methods say so, not its name.
    """
    return hasattr(optimizer, "train") and hasattr(optimizer, "eval")


def to_training(optimizer: Any) -> None:
    """Have the parameters hold what gradients are taken of (y of the paper)."""
    optimizer.train()


@contextmanager
@torch.no_grad()
def weights_to_read(optimizer: Any) -> Iterator[None]:
    """Have the parameters hold the average that is to be saved, shown and validated (x of the paper).

    Afterwards they are bit for bit what they were: going there and back by the optimizer's own arithmetic would not be
    exact, and a run would depend on how often it was looked at.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    before = [one.detach().clone() for one in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        for parameter, kept in zip(parameters, before, strict=True):
            parameter.copy_(kept)
