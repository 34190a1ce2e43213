from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from loracore import LoracoreError, hookimpl
from loracore.training.processes import Processes
from loracore.training.run import Run
from loracore.training.steps.control import Interrupted
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.schedule_free import is_schedule_free
from loracore.training.updates.whole_updates import Updates
from tests.loracore.training.updates.every_optimizer import NAMES, built, parameters, step
from tests.resumed_runs import assert_same_state
from tests.toy_runs import TrainToy

FREE = [name for name in NAMES if "ScheduleFree" in name]


@pytest.mark.parametrize("name", NAMES)
def test_methods_tell_what_is_schedule_free(name: str) -> None:
    assert is_schedule_free(built(name, parameters())) == (name in FREE)


@pytest.mark.parametrize("name", FREE)
def test_weights_are_read_as_the_average_and_are_then_what_they_were(name: str) -> None:
    several = parameters()
    optimizer = built(name, several)
    for number in range(7):  # RAdam leaves the first ones out
        step(optimizer, number)
    before = [one.detach().clone() for one in several]
    updates = Updates(optimizer, Gradients(several, Processes(torch.device("cpu"), 0, 1), 0))
    with updates.weights_to_read():
        assert torch.is_grad_enabled()
        assert not torch.equal(several[2], before[2])
    assert all(torch.equal(a, b) for a, b in zip(several, before, strict=True))
    assert all(group["train_mode"] for group in optimizer.param_groups if "train_mode" in group)


@pytest.mark.parametrize("name", FREE)
def test_a_run_that_is_looked_at_is_the_same_run(name: str) -> None:
    watched, alone = parameters(), parameters()
    one, other = built(name, watched), built(name, alone)
    updates = Updates(one, Gradients(watched, Processes(torch.device("cpu"), 0, 1), 0))
    for number in range(3):
        step(one, number)
        step(other, number)
        with updates.weights_to_read():
            pass
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))


def test_others_are_read_as_they_are() -> None:
    several = parameters()
    before = [one.detach().clone() for one in several]
    updates = Updates(built("AdamW", several), Gradients(several, Processes(torch.device("cpu"), 0, 1), 0))
    with updates.weights_to_read():
        assert all(torch.equal(a, b) for a, b in zip(several, before, strict=True))


class Averages:
    """Computes after every step what the paper calls x, of the optimizer's z and the parameters y = β x + (1 - β) z."""

    def __init__(self, stops_at: int | None = None) -> None:
        self._stops_at = stops_at
        self.read: dict[int, dict[str, Tensor]] = {}
        self.trained: dict[int, dict[str, Tensor]] = {}

    @hookimpl(tryfirst=True)
    @torch.no_grad()
    def step_done(self, run: Run, step: int) -> None:
        (group,) = run.moving.optimizer.param_groups
        beta, trained = group["betas"][0], [one.clone() for one in group["params"]]
        self.trained[step] = copied(run)
        for one in group["params"]:
            one.copy_((one - (1 - beta) * run.moving.optimizer.state[one]["z"]) / beta)
        self.read[step] = copied(run)
        for one, before in zip(group["params"], trained, strict=True):
            one.copy_(before)
        if step == self._stops_at:
            run.control.interrupt("SIGTERM")

    def check(self, path: Path, step: int) -> None:
        found = load_file(path)
        assert all(torch.allclose(one, self.read[step][name], atol=1e-6) for name, one in found.items())
        assert not all(torch.allclose(one, self.trained[step][name], atol=1e-6) for name, one in found.items())


def copied(run: Run) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in run.network.file_tensors(torch.float32).items()}


KEPT = ("--validation_split", "0.34", "--keep_best", "9", "--save_every_n_steps", "3", "--save_every_n_epochs", "2")


def test_every_saved_file_holds_the_weights_to_read(train_toy: TrainToy) -> None:
    averages = Averages()
    words = ("--optimizer_type", "AdamWScheduleFree", "--validate_every_n_steps", "5", "--max_train_steps", "7")
    final = train_toy(*words, *KEPT, plugin=averages)
    averages.check(final, 7)
    for name, number in (("toy-step00000003", 3), ("toy-000002", 4), ("toy-best-step00000005", 5)):
        averages.check(final.with_name(f"{name}.safetensors"), number)


def test_the_file_of_an_interrupted_run_holds_the_weights_to_read(train_toy: TrainToy, tmp_path: Path) -> None:
    averages = Averages(stops_at=4)
    with pytest.raises(Interrupted):
        train_toy("--optimizer_type", "AdamWScheduleFree", plugin=averages)
    averages.check(tmp_path / "out" / "toy-step00000004.safetensors", 4)


def test_a_run_that_saves_often_trains_what_one_that_never_does_trains(train_toy: TrainToy) -> None:
    words = ("--optimizer_type", "AdamWScheduleFree", "--save_state_on_train_end")
    plain = train_toy(*words, "--output_name", "plain")
    often = train_toy(*words, "--output_name", "often", "--save_every_n_steps", "1")
    assert_same_state(plain.with_name("plain-state"), often.with_name("often-state"))


def test_a_second_average_is_refused_whatever_the_class_is_called(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="keeps an average of the weights already"):
        train_toy("--optimizer_type", "AdamWScheduleFree", "--use_ema")
