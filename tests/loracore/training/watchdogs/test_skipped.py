from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loracore import Event, LoracoreError, NoisyBatch, Prediction, hookimpl
from loracore.training.steps.history import History, TakenStep
from loracore.training.watchdogs.skipped import SkippedStepsError, check_skipped
from tests.toy_runs import TrainToy


def after(*bad: bool, count: int = 1) -> History:
    history = History(window=5)
    ids = tuple(f"{number}.png" for number in range(count))
    for step, one in enumerate(bad, start=1):
        loss = torch.tensor(math.nan if one else 1.0)
        history.push(TakenStep(step, 1, ids, loss, torch.tensor(1.0), torch.tensor(float(one))))
    history.settle()
    return history


@pytest.mark.parametrize("bad", [(), (True, True), (True, True, False, True, True)])
def test_a_few_skipped_steps_are_borne(bad: tuple[bool, ...]) -> None:
    check_skipped(after(*bad), 3)


def test_too_many_skipped_steps_in_a_row_end_the_run_and_name_samples() -> None:
    with pytest.raises(SkippedStepsError, match=r"3 steps in a row, the last with 0\.png, .* and 2 more") as caught:
        check_skipped(after(False, True, True, True, count=6), 3)
    assert isinstance(caught.value, LoracoreError)


class Spoiled:
    """Makes the loss of chosen samples infinite, or what all of a step have in common."""

    def __init__(self, *names: str, first: int = 1) -> None:
        self.names, self.first, self.step = names, first, 1
        self.events: list[Event] = []

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        if self.step < self.first:
            return prediction
        factors = [math.inf if Path(name).stem in self.names else 1.0 for name in batch.batch.ids]
        return replace(prediction, output=prediction.output * torch.tensor(factors)[:, None, None, None])

    @hookimpl
    def step_done(self, step: int) -> None:
        self.step = step + 1

    @hookimpl
    def happened(self, event: Event) -> None:
        self.events.append(event)

    def values(self, kind: str) -> list[Mapping[str, Any]]:
        return [event.values for event in self.events if event.kind == kind]


def test_a_skipped_step_names_the_picture_that_spoiled_it(train_toy: TrainToy, pictures: Path) -> None:
    stem = min(pictures.glob("*.png")).stem
    spoiled = Spoiled(stem)
    file = train_toy("--max_train_steps", "8", plugin=spoiled)
    skipped = spoiled.values("skipped")
    assert skipped
    assert {Path(name).stem for values in skipped for name in values["ids"]} == {stem}
    steps = spoiled.values("step")
    assert [values["loss"] is None for values in steps] == [values["skipped"] for values in steps]
    assert all(tensor.isfinite().all() for tensor in load_file(file).values())


def test_a_run_that_only_skips_ends_and_keeps_the_last_good_weights(
    train_toy: TrainToy, pictures: Path, tmp_path: Path
) -> None:
    stems = [path.stem for path in pictures.glob("*.png")]
    good = train_toy("--max_train_steps", "3", "--output_name", "good")
    spoiled = Spoiled(*stems, first=4)
    with pytest.raises(SkippedStepsError, match="4 steps in a row, the last with"):
        train_toy("--max_train_steps", "20", "--max_skipped_steps", "4", plugin=spoiled)
    assert [values["skipped"] for values in spoiled.values("step")] == [False] * 3 + [True] * 4
    (kept,) = (tmp_path / "out").glob("toy*.safetensors")
    expected, found = load_file(good), load_file(kept)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_what_is_advised_when_steps_are_skipped_can_be_done(
    train_toy: TrainToy, pictures: Path, tmp_path: Path
) -> None:
    stems = [path.stem for path in pictures.glob("*.png")]
    words = ("--max_train_steps", "12", "--max_skipped_steps")
    with pytest.raises(SkippedStepsError, match="--network_weights FILE"):
        train_toy(*words, "4", plugin=Spoiled(*stems, first=4))
    (kept,) = (tmp_path / "out").glob("toy*.safetensors")
    lower = ("--learning_rate", "1e-3", "--output_name", "anew")
    assert train_toy(*words, "4", "--network_weights", str(kept), *lower).exists()
    assert train_toy(*words, "5", "--resume", "latest").exists()  # how many are borne is no part of the training
