from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loracore import Event, NoisyBatch, hookimpl
from loracore.errors import LoracoreError
from loracore.training.run import Run
from loracore.training.state.folder import read_head, read_state
from loracore.training.steps.control import Interrupted
from loracore.training.watchdogs.not_finite import NotFiniteError
from tests.resumed_runs import StopAt, interrupted
from tests.toy_runs import TrainToy

FIXED = ("relative_step=False", "scale_parameter=False", "warmup_init=False")


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
            run.moving.optimizer.register_step_pre_hook(_fail)

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


class SignalledWhileLoading:
    """Sends this process a signal while models are loaded."""

    def __init__(self, number: int) -> None:
        self._number = number

    @hookimpl(tryfirst=True)
    def load_models(self) -> None:
        os.kill(os.getpid(), self._number)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_models_are_loaded_leaves_nothing(train_toy: TrainToy, tmp_path: Path, number: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_toy(plugin=SignalledWhileLoading(number))
    assert not (tmp_path / "out").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class FailsAtTheEnd(Told):
    """Fails when the end is told."""

    @hookimpl(trylast=True)
    def happened(self, event: Event) -> None:
        super().happened(event)
        if event.kind == "finished":
            raise ZeroDivisionError


def test_a_listener_that_fails_at_the_end_is_told_of_it_once(train_toy: TrainToy, tmp_path: Path) -> None:
    told = FailsAtTheEnd()
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=told)
    assert len(told.of("finished")) == 1
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["toy.safetensors"]


def test_an_error_behind_a_step_goes_on_when_the_step_is_saved(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=Told(fails_at=3))
    assert read_head(tmp_path / "out" / "toy-step00000003-state").step == 3
    assert (tmp_path / "out" / "toy-step00000003.safetensors").exists()


def test_an_error_in_a_forward_pass_leaves_the_step_before(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(plugin=FailsInForward(3))
    assert read_head(tmp_path / "out" / "toy-step00000002-state").step == 2


class SaysAndFails(FailsInForward):
    """Has something to say of speed in the step that fails."""

    @hookimpl
    def run_started(self, run: Run) -> None:
        run.steps.speed.news.say("attention: unfused")


def test_what_became_known_in_the_step_that_failed_is_told(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(plugin=SaysAndFails(1))
    (log,) = (tmp_path / "out").glob("*/events.jsonl")
    assert "attention: unfused" in log.read_text(encoding="utf-8")


def test_half_a_step_is_never_saved(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train_toy(plugin=FailsInForward(3, inside=True))
    assert list((tmp_path / "out").glob("toy-step*")) == []


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_a_signal_while_an_early_end_is_saved_stops_at_once(train_toy: TrainToy) -> None:
    class Impatient(Told):
        @hookimpl
        def run_finished(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            self.went_on = True

    impatient = Impatient(stops_at=2)
    with pytest.raises(KeyboardInterrupt):
        train_toy(plugin=impatient)
    assert impatient.of("finished") == []


class Poisons(Told):
    """Makes a number of an adapter worthless behind a step, as an optimizer that overflows does."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    @hookimpl(tryfirst=True, specname="step_done")
    def poison(self, run: Run, step: int) -> None:
        if step == self._step:
            run.network.entries[0].adapter.trained_parameters()[0].data.view(-1)[0] = float("nan")


@pytest.mark.parametrize("at", [3, 4])
def test_worthless_weights_take_no_place_and_end_the_run(train_toy: TrainToy, tmp_path: Path, at: int) -> None:
    told = Poisons(at)
    words = ("--save_state", "--save_every_n_steps", "2", "--save_last_n_steps", "1", "--max_train_steps", "40")
    with pytest.raises(NotFiniteError, match=r"behind step 4: .*kept: .*toy-step00000002\.safetensors") as caught:
        train_toy(*words, plugin=told)
    assert "toy-step00000002-state" in str(caught.value)
    assert {Path(values["path"]).name for values in told.of("save_failed")} >= {"toy-step00000004.safetensors"}
    found = sorted(path.name for path in (tmp_path / "out").glob("toy-step*"))
    assert found == ["toy-step00000002-state", "toy-step00000002.safetensors"]
    read_state(tmp_path / "out" / "toy-step00000002-state")


def test_worthless_weights_that_nobody_saves_end_the_run_too(train_toy: TrainToy) -> None:
    with pytest.raises(NotFiniteError, match="behind step 6"):
        train_toy("--max_train_steps", "40", "--max_skipped_steps", "3", plugin=Poisons(3))


def test_a_state_with_worthless_averages_is_refused_alone(train_toy: TrainToy, tmp_path: Path) -> None:
    class Overflowing(Told):
        @hookimpl(tryfirst=True, specname="step_done")
        def poison(self, run: Run) -> None:
            for values in run.moving.optimizer.state.values():
                values["exp_avg_sq"].view(-1)[0] = float("inf")

    told = Overflowing()
    final = train_toy("--save_state_on_train_end", plugin=told)
    assert ["the state is not written" in values["message"] for values in told.of("save_failed")] == [True]
    assert final.exists()
    assert not final.with_name("toy-state").exists()


def test_what_an_interrupt_saves_goes_when_its_time_has_come(train_toy: TrainToy, tmp_path: Path) -> None:
    words = ("--save_state", "--save_every_n_steps", "2", "--save_last_n_steps", "1")
    state = interrupted(train_toy, 3, *words)
    train_toy("--resume", str(state), *words, "--max_train_steps", "8")
    found = sorted(path.name for path in (tmp_path / "out").glob("toy-step*"))
    assert found == ["toy-step00000008-state", "toy-step00000008.safetensors"]


class Worthless:
    """Makes every loss worthless, and fails behind a step where it is asked to."""

    def __init__(self, fails_at: int | None = None) -> None:
        self._fails_at = fails_at

    @hookimpl
    def loss_weighting(self, batch: NoisyBatch) -> torch.Tensor:
        return torch.full((len(batch.timesteps),), float("nan"))

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == self._fails_at:
            raise ZeroDivisionError


@pytest.mark.parametrize(("fails_at", "raised"), [(3, ZeroDivisionError), (None, LoracoreError)])
def test_an_error_behind_skipped_steps_alone_saves_nothing(
    train_toy: TrainToy, tmp_path: Path, fails_at: int | None, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        train_toy(plugin=Worthless(fails_at))
    assert [path.name for path in (tmp_path / "out").glob("toy*")] == ["toy-log"]


def test_a_late_begin_without_a_good_step_is_an_error(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="no step could be applied"):
        train_toy("--initial_step", "3", plugin=Worthless())


class WorthlessTold(Told):
    """Makes every loss worthless, and notes what is told."""

    @hookimpl
    def loss_weighting(self, batch: NoisyBatch) -> torch.Tensor:
        return torch.full((len(batch.timesteps),), float("nan"))


def test_a_resumed_part_without_a_good_step_says_so_and_writes_the_final_file(train_toy: TrainToy) -> None:
    state, told = interrupted(train_toy, 3), WorthlessTold()
    final = load_file(train_toy("--resume", "latest", plugin=told))
    saved = load_file(state.with_name("toy-step00000003.safetensors"))
    assert all(saved[name].equal(tensor) for name, tensor in final.items())
    assert any("no step could be applied" in values["text"] for values in told.of("note"))


def test_an_interrupted_network_goes_elsewhere_when_its_folder_takes_nothing(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Lost(StopAt):
        @hookimpl(tryfirst=True, specname="step_done")
        def lose(self, run: Run, step: int) -> None:
            if step == self.step:
                shutil.rmtree(run.results.files.folder)
                run.results.files.folder.write_text("in the way", encoding="utf-8")

    with pytest.raises(Interrupted) as caught:
        train_toy("--output_dir", str(tmp_path / "drive"), plugin=Lost(2))
    assert caught.value.state is None
    assert load_file(tmp_path / "toy-step00000002.safetensors")


def test_an_error_in_a_forward_pass_of_fused_updates_leaves_the_step_before(
    train_toy: TrainToy, tmp_path: Path
) -> None:
    fused = ("--fused_backward_pass", "--optimizer_type", "Adafactor", "--optimizer_args", *FIXED)
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(*fused, plugin=FailsInForward(3))
    assert read_head(tmp_path / "out" / "toy-step00000002-state").step == 2


class WorthlessEpoch(Worthless):
    """Asks for an end, or an interrupt, behind the first epoch."""

    def __init__(self, *, interrupts: bool) -> None:
        super().__init__()
        self._interrupts = interrupts

    @hookimpl
    def epoch_done(self, run: Run) -> None:
        (run.control.interrupt if self._interrupts else run.control.stop)("enough")


@pytest.mark.parametrize(("interrupts", "raised"), [(False, LoracoreError), (True, Interrupted)])
def test_an_early_end_without_a_good_step_saves_nothing(
    train_toy: TrainToy, tmp_path: Path, *, interrupts: bool, raised: type[BaseException]
) -> None:
    with pytest.raises(raised):
        train_toy("--max_train_steps", "9", plugin=WorthlessEpoch(interrupts=interrupts))
    assert [path.name for path in (tmp_path / "out").glob("toy*")] == ["toy-log"]


def test_an_error_before_any_step_saves_nothing(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises((torch.OutOfMemoryError, LoracoreError)):
        train_toy(plugin=FailsInForward(1))
    assert list((tmp_path / "out").glob("toy-step*")) == []


def test_a_failing_save_does_not_hide_the_first_error(
    train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("loracore.training.run.Run.store_state", broken)
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
