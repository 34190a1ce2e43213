"""Validations of runs that are interrupted and go on."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore import Event, hookimpl
from loracore.training.run import Run
from loracore.training.state.folder import read_state
from loracore.training.steps.control import Interrupted
from tests.loracore.training.validation.conftest import HELD
from tests.resumed_runs import assert_same_state
from tests.toy_runs import TrainToy

WORDS = (*HELD, "--validate_every_n_steps", "2", "--keep_best", "3", "--save_state", "--save_every_n_steps", "2")


class Told:
    """Notes what a run says, and what it knows at its end."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.validated: list[int] = []
        self.run: Run | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.run = run

    @hookimpl
    def happened(self, event: Event) -> None:
        self.notes += [str(event.values["text"])] if event.kind == "note" else []
        self.validated += [event.step] if event.kind == "validation" else []

    @property
    def kept(self) -> set[str]:
        """The names of the files that it takes for the best ones."""
        assert self.run is not None
        return {self.run.results.files.best(step).name for step in self.run.watch.validations.kept}


class Impatient(Told):
    """Asks for an interrupt, as a signal does, in the first forward pass of a validation."""

    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Any, Any]:
        if not torch.is_grad_enabled():
            assert self.run is not None
            self.run.control.interrupt("SIGINT")
        return (yield)


def best_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("toy-best-*")}


def test_the_state_of_a_step_holds_the_validation_of_this_step(train_toy: TrainToy) -> None:
    final = train_toy(*WORDS, "--max_train_steps", "4")
    for step in (2, 4):
        known = read_state(final.with_name(f"toy-step{step:08d}-state"))["parts"]["validations"]
        assert step in {kept for _, kept in known["kept"]}


def test_a_validation_that_a_signal_ends_is_made_up_for(train_toy: TrainToy, tmp_path: Path) -> None:
    whole = train_toy(*WORDS, "--output_dir", str(tmp_path / "whole"))
    impatient, again = Impatient(), Told()
    with pytest.raises(Interrupted) as caught:
        train_toy(*WORDS, plugin=impatient)
    assert (caught.value.step, impatient.validated) == (2, [])
    assert "the validation of step 2 was left out" in "\n".join(impatient.notes)
    final = train_toy(*WORDS, "--resume", str(caught.value.state), plugin=again)
    assert again.validated == [2, 4, 6]
    assert_same_state(whole.with_name("toy-state"), final.with_name("toy-state"))
    assert best_files(final.parent) == best_files(whole.parent)


def test_best_files_of_a_life_that_was_given_up_go(train_toy: TrainToy) -> None:
    final, told = train_toy(*WORDS, "--max_train_steps", "8"), Told()
    state = final.with_name("toy-step00000002-state")
    train_toy(*WORDS, "--max_train_steps", "4", "--resume", str(state), plugin=told)
    assert told.kept == best_files(final.parent) == {"toy-best-step00000004.safetensors"}


def test_best_files_that_are_gone_are_forgotten(train_toy: TrainToy) -> None:
    final, told = train_toy(*WORDS, "--max_train_steps", "4"), Told()
    final.with_name("toy-best-step00000002.safetensors").unlink()
    train_toy(*WORDS, "--resume", "latest", plugin=told)
    assert "the files of steps 2 are not in" in "\n".join(told.notes)
    assert told.kept == best_files(final.parent)


class FailsInValidation(Told):
    """Fails in the first forward pass of a validation."""

    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Any, Any]:
        if not torch.is_grad_enabled():
            raise ZeroDivisionError
        return (yield)


def test_a_validation_that_fails_is_made_up_for(train_toy: TrainToy) -> None:
    again = Told()
    with pytest.raises(ZeroDivisionError):
        train_toy(*WORDS, plugin=FailsInValidation())
    train_toy(*WORDS, "--resume", "latest", plugin=again)
    assert again.validated == [2, 4, 6]


class BlocksBest:
    """Puts a folder where a best file is to be."""

    def __init__(self, step: int) -> None:
        self._step = step

    @hookimpl
    def run_started(self, run: Run) -> None:
        run.results.files.best(self._step).mkdir()


def test_a_best_file_stays_when_its_better_one_could_not_be_written(train_toy: TrainToy) -> None:
    words = tuple("1" if word == "3" and before == "--keep_best" else word for before, word in pairwise(("", *WORDS)))
    better = train_toy(*words, "--output_name", "free", "--max_train_steps", "8")
    (kept,) = better.parent.glob("free-best-*")
    step = int(kept.stem.removeprefix("free-best-step"))
    final = train_toy(*words, "--max_train_steps", "8", plugin=BlocksBest(step))
    files = [path for path in final.parent.glob("toy-best-*") if path.is_file()]
    assert files
    assert kept.stem[len("free") :] not in {path.stem[len("toy") :] for path in files}
