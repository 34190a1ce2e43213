from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loracore import Event, hookimpl
from loracore.errors import LoracoreError
from loracore.training.run import Run
from loracore.training.state.folder import read_head, read_state
from tests.resumed_runs import StopAt, interrupted
from tests.toy_runs import TrainToy


class Told:
    """Notes what happens, and fails or stops where it is asked to."""

    def __init__(self, fails_at: int | None = None, stops_at: int | None = None) -> None:
        self.events: list[Event] = []
        self._fails_at, self._stops_at = fails_at, stops_at

    @hookimpl
    def happened(self, event: Event) -> None:
        self.events.append(event)

    @hookimpl
    def step_done(self, run: Run, step: int) -> None:
        if step == self._fails_at:
            raise ZeroDivisionError
        if step == self._stops_at:
            run.control.stop("no better loss")

    def of(self, kind: str) -> list[Any]:
        return [event.values for event in self.events if event.kind == kind]


class FailsInForward:
    """Runs out of memory before a step has changed anything, or in the middle of the optimizer's step."""

    def __init__(self, step: int, *, inside: bool = False) -> None:
        self._step, self._inside, self._taken = step, inside, 0

    @hookimpl
    def step_done(self, run: Run, step: int) -> None:
        self._taken = step
        if self._inside and step == self._step - 1:
            run.optimizer.register_step_pre_hook(_fail)

    @hookimpl(tryfirst=True)
    def draw_timesteps(self) -> None:
        if not self._inside and self._taken == self._step - 1:
            message = "out of memory"
            raise torch.OutOfMemoryError(message)


def _fail(*_: object) -> None:
    raise ZeroDivisionError


def test_an_interrupt_leaves_network_and_state_of_the_same_step(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 3)
    file = state.with_name("toy-step00000003.safetensors")
    network = read_state(state)["network"]
    ups = {name: tensor for name, tensor in load_file(file).items() if name.endswith("lora_up.weight")}
    assert ups
    assert all(
        tensor.equal(network[name.partition(".")[0]]["up"].reshape(tensor.shape)) for name, tensor in ups.items()
    )
    assert not state.with_name("toy.safetensors").exists()


def test_an_early_end_is_an_end(train_toy: TrainToy) -> None:
    told = Told(stops_at=3)
    final = train_toy("--save_state_on_train_end", plugin=told)
    assert read_head(final.with_name("toy-state")).step == 3
    assert [values["reason"] for values in told.of("finished")] == ["no better loss"]


def test_what_happens_is_told_in_order(train_toy: TrainToy) -> None:
    told = Told()
    train_toy("--max_train_steps", "5", plugin=told)
    kinds = [event.kind for event in told.events if event.kind in {"started", "step", "epoch", "finished"}]
    assert kinds == ["started", *["step"] * 4, "epoch", "step", "epoch", "finished"]
    assert [event.step for event in told.events if event.kind == "epoch"] == [4, 5]


def test_an_error_behind_a_step_goes_on_when_the_step_is_saved(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=Told(fails_at=3))
    assert read_head(tmp_path / "out" / "toy-step00000003-state").step == 3
    assert (tmp_path / "out" / "toy-step00000003.safetensors").exists()


def test_an_error_in_a_forward_pass_leaves_the_step_before(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(plugin=FailsInForward(3))
    assert read_head(tmp_path / "out" / "toy-step00000002-state").step == 2


def test_half_a_step_is_never_saved(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=FailsInForward(3, inside=True))
    assert list((tmp_path / "out").glob("toy-step*")) == []


def test_an_error_before_any_step_saves_nothing(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(plugin=FailsInForward(1))
    assert list((tmp_path / "out").glob("toy-step*")) == []


def test_a_failing_save_does_not_hide_the_first_error(
    train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("loracore.training.ending.store_state", broken)
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=Told(fails_at=3))
    assert "step 3 could not be saved" in capfd.readouterr().err


def test_a_full_disk_at_a_state_lets_the_run_go_on(train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("loracore.training.state.saving.write_state", full)
    told = Told()
    final = train_toy("--save_state", "--save_every_n_steps", "3", plugin=told)
    failed = told.of("save_failed")
    assert [Path(values["path"]).name for values in failed] == [
        "toy-step00000003-state",
        "toy-step00000006-state",
        "toy-state",
    ]
    assert "No space left" in failed[0]["message"]
    assert final.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of a console there")
def test_a_signal_ends_a_real_run_with_the_command_that_resumes_it(toy_config: Path, tmp_path: Path) -> None:
    words = [str(toy_config), "--max_train_steps", "100000", "--save_every_n_steps", "5"]
    command = [sys.executable, "-m", "loracore", "train", *words]
    lines: list[str] = []
    sent = False
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        for line in process.stderr or ():  # the bar's updates are lines, too
            lines.append(line)
            if "saved" in line and not sent:
                process.send_signal(signal.SIGTERM)
                sent = True
    assert process.returncode == 130
    again = shlex.split(lines[-1])
    assert again[:-1] == ["loracore", "train", *words, "--resume"]
    state = Path(again[-1])
    assert state.with_name(state.name.replace("-state", ".safetensors")).exists()
    read_state(state)


def test_masks_are_cleared_before_anything_is_saved_at_the_end(train_toy: TrainToy) -> None:
    interrupted(train_toy, 2, "--network_dropout", "0.5")
    stopping = StopAt(99)
    assert train_toy("--resume", "latest", "--network_dropout", "0.5", plugin=stopping).exists()
