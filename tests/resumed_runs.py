"""Toy runs that are interrupted and resumed, and what tells whether they equal one that never was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loracore import hookimpl
from loracore.training.run import Run
from loracore.training.state.codec import packed
from loracore.training.state.folder import read_state
from loracore.training.steps.control import Interrupted
from tests.toy_runs import TrainToy

#: What two runs may differ in that were trained alike.
_OF_THE_PROCESS = ("session_id", "started", "config", "retention")


class StopAt:
    """Asks for an interrupt, as a signal does, while some step is taken."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def step_done(self, run: Run, step: int) -> None:
        if step == self.step:
            run.control.interrupt("SIGTERM")


def contents(state: Path) -> tuple[Any, Mapping[str, Tensor]]:
    """Return what a state says of the training alone."""
    tree = read_state(state)
    tree["parts"].pop("retention")
    text, tensors = packed({name: value for name, value in tree.items() if name not in _OF_THE_PROCESS})
    return json.loads(text), tensors


def assert_same_state(one: Path, other: Path) -> None:
    """Compare network, optimizer, schedule, averages and losses bit for bit."""
    (tree, tensors), (other_tree, other_tensors) = contents(one), contents(other)
    assert tree == other_tree
    assert tensors.keys() == other_tensors.keys()
    differing = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype != other_tensors[name].dtype or _bits(tensor) != _bits(other_tensors[name])
    ]
    assert differing == []


def _bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def interrupted(train_toy: TrainToy, step: int, *flags: str) -> Path:
    """Train up to a step, and return the state that is left."""
    with pytest.raises(Interrupted) as caught:
        train_toy(*flags, plugin=StopAt(step))
    assert caught.value.step == step
    assert caught.value.state is not None
    return caught.value.state


def assert_resumes_exactly(train_toy: TrainToy, folder: Path, stops: Sequence[int], flags: Sequence[str]) -> None:
    """Train without a stop, and again with some; both must end alike."""
    flags = (*flags, "--save_state_on_train_end")
    whole = train_toy(*flags, "--output_dir", str(folder / "whole"))
    parts: tuple[str, ...] = (*flags, "--output_dir", str(folder / "parts"))
    again: tuple[str, ...] = ()
    for stop in stops:
        again = ("--resume", str(interrupted(train_toy, stop, *parts, *again)))
    final = train_toy(*parts, *again)
    assert_same_state(whole.with_name("toy-state"), final.with_name("toy-state"))
