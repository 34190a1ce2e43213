"""Saving in whole runs: what is told, what stays, and what a disk that is full does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore import Event, LoracoreError, hookimpl
from loracore.training.results.writing import BackgroundWriter
from loracore.training.run import Run
from tests.toy_runs import TrainToy


class Listener:
    """Notes what is told of files."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind in {"saved", "save_failed"}:
            self.events.append(event)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(event.kind, Path(event.values["path"]).name) for event in self.events]


class Breaking(Listener):
    """Puts numbers that are not finite into the network at one step, and the old ones back behind it."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step
        self._before: list[torch.Tensor] = []

    @hookimpl(tryfirst=True)
    def step_done(self, run: Run, step: int) -> None:
        parameters = list(run.network.modules.parameters())
        with torch.no_grad():
            if step == self._step:
                self._before = [one.clone() for one in parameters]
                parameters[0].fill_(float("nan"))
            elif step == self._step + 1:
                for one, before in zip(parameters, self._before, strict=True):
                    one.copy_(before)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 400 KiB of its own, in memory; skipped where this user may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True, check=False).returncode:  # fixed words
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # fixed words


def test_every_file_is_told_of_when_it_stands(train_toy: TrainToy) -> None:
    listener = Listener()
    path = train_toy("--save_every_n_steps", "2", "--save_every_n_epochs", "1", plugin=listener)
    names = {name for kind, name in listener.told if kind == "saved"}
    assert names == {one.name for one in path.parent.glob("*.safetensors")}
    assert [event.values["reason"] for event in listener.events][-1] == "final"


@pytest.mark.parametrize("name", ["save_every_n_steps", "save_every_n_epochs", "save_n_epoch_ratio"])
def test_an_interval_of_zero_is_off(train_toy: TrainToy, name: str) -> None:
    listener = Listener()
    train_toy(f"--{name}", "0", plugin=listener)
    assert len(listener.told) == 1


def test_old_files_go_when_newer_ones_stand(train_toy: TrainToy) -> None:
    path = train_toy("--save_every_n_steps", "1", "--save_last_n_steps", "1")
    assert sorted(one.name for one in path.parent.glob("*-step*")) == [
        "toy-step00000005.safetensors",
        "toy-step00000006.safetensors",
    ]


def test_a_file_saved_on_the_way_is_the_network_of_that_step(train_toy: TrainToy) -> None:
    path = train_toy("--save_every_n_steps", "3")
    short = train_toy("--max_train_steps", "3", "--output_name", "short")
    found, wanted = load_file(path.with_name("toy-step00000003.safetensors")), load_file(short)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_moving_average_is_saved_in_the_place_of_the_last_step(train_toy: TrainToy) -> None:
    slow = load_file(train_toy("--use_ema", "--ema_decay", "0.1", "--output_name", "ema"))
    plain = load_file(train_toy("--output_name", "plain"))
    changed = [name for name in plain if "alpha" not in name and not torch.equal(slow[name], plain[name])]
    assert changed
    fast = load_file(train_toy("--use_ema", "--ema_decay", "1e-12", "--output_name", "fast"))
    assert all(torch.allclose(fast[name], plain[name], atol=1e-6) for name in plain)  # one rounding each step


def test_a_run_goes_on_after_weights_that_are_not_finite_and_never_saves_them(train_toy: TrainToy) -> None:
    listener = Breaking(step=2)
    path = train_toy("--save_every_n_steps", "2", plugin=listener)
    assert listener.told[0] == ("save_failed", "toy-step00000002.safetensors")
    assert ("saved", "toy-step00000004.safetensors") in listener.told
    assert path.exists()
    assert not path.with_name("toy-step00000002.safetensors").exists()


def test_a_final_file_that_cannot_be_written_is_an_error_that_says_what_is_kept(train_toy: TrainToy) -> None:
    listener = Breaking(step=6)
    with pytest.raises(LoracoreError, match=r"not finite.*kept: .*toy-step00000003\.safetensors"):
        train_toy("--save_every_n_steps", "3", plugin=listener)
    assert ("saved", "toy.safetensors") not in listener.told


def test_a_full_disk_leaves_the_old_files_and_the_run_goes_on(
    train_toy: TrainToy, full_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the final file goes then
    listener = Listener()
    words = ("--output_dir", str(full_disk), "--save_every_n_steps", "1", "--network_dim", "1024")
    with pytest.raises(LoracoreError) as caught:
        train_toy(*words, "--max_train_steps", "12", plugin=listener)
    assert listener.told.count(("save_failed", "toy.safetensors")) == 1
    saved = {Path(event.values["path"]) for event in listener.events if event.kind == "saved"}
    assert {*full_disk.glob("*.safetensors"), tmp_path / "toy.safetensors"} == saved
    assert all(load_file(path) for path in saved)
    assert "make room" in str(caught.value)
    assert "kept" in str(caught.value)
    assert not list(full_disk.glob(".*tmp-*"))


@pytest.mark.parametrize("kind", ["ckpt", "pt"])
def test_the_format_is_the_files_ending(train_toy: TrainToy, kind: str) -> None:
    found = torch.load(train_toy("--save_model_as", kind), weights_only=True)
    wanted = load_file(train_toy("--output_name", "other"))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_the_precision_is_that_of_every_tensor(train_toy: TrainToy, precision: str, dtype: torch.dtype) -> None:
    assert {one.dtype for one in load_file(train_toy("--save_precision", precision)).values()} == {dtype}


def test_states_beside_files_are_removed_like_them(train_toy: TrainToy) -> None:
    path = train_toy("--save_every_n_steps", "1", "--save_last_n_steps_state", "1", "--save_state")
    assert sorted(one.name for one in path.parent.glob("*-state")) == [
        "toy-state",
        "toy-step00000005-state",
        "toy-step00000006-state",
    ]


def test_of_files_and_states_of_epochs_so_many_stay(train_toy: TrainToy) -> None:
    kept = ("--save_last_n_epochs", "1", "--save_last_n_epochs_state", "2")
    path = train_toy("--save_every_n_epochs", "1", "--max_train_epochs", "4", "--save_state", *kept)
    assert sorted(one.name for one in path.parent.glob("toy-0*")) == [
        "toy-000002-state",
        "toy-000003-state",
        "toy-000003.safetensors",
    ]


def test_a_resumed_run_removes_what_the_one_before_has_saved(train_toy: TrainToy) -> None:
    words = ("--save_every_n_steps", "1", "--save_last_n_steps", "2")
    train_toy(*words, "--max_train_steps", "4", "--save_state")
    path = train_toy(*words, "--resume", "latest")
    assert sorted(one.name for one in path.parent.glob("toy-step*.safetensors")) == [
        f"toy-step0000000{step}.safetensors" for step in (4, 5, 6)
    ]


def test_a_resumed_run_has_the_moving_average_of_one_that_never_stopped(train_toy: TrainToy) -> None:
    whole = load_file(train_toy("--use_ema", "--output_name", "whole"))
    train_toy("--use_ema", "--max_train_steps", "3", "--save_state_on_train_end")
    resumed = load_file(train_toy("--use_ema", "--resume", "latest"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


class Unplugged(Listener):
    """Takes the output folder away behind the last step, as a lost drive does: a file stands in its place."""

    @hookimpl(trylast=True)
    def step_done(self, run: Run, step: int) -> None:
        if step == run.length.steps:
            run.results.writer.settle()
            shutil.rmtree(run.results.files.folder)
            run.results.files.folder.write_text("in the way", encoding="utf-8")


def test_a_network_whose_folder_is_gone_is_saved_in_the_current_one(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = load_file(train_toy("--output_name", "other"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.safetensors").write_bytes(b"somebody's")
    listener = Unplugged()
    with pytest.raises(LoracoreError, match=r"saved in .*toy-2\.safetensors; kept: nothing"):
        train_toy("--output_dir", str(tmp_path / "drive"), plugin=listener)
    assert listener.told[-2:] == [("save_failed", "toy.safetensors"), ("saved", "toy-2.safetensors")]
    found = load_file(tmp_path / "toy-2.safetensors")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert (tmp_path / "toy.safetensors").read_bytes() == b"somebody's"


def test_what_is_kept_of_a_lost_final_file_is_all_that_stands(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the final file goes then
    words = ("--save_state_on_train_end", "--validation_split", "0.34", "--keep_best", "1")
    with pytest.raises(LoracoreError, match="kept: ") as caught:
        train_toy(*words, "--validate_every_n_steps", "3", plugin=InTheWay())
    kept = str(caught.value).partition("kept: ")[2].rstrip(")").split(", ")
    found = [tmp_path / "out" / "toy-state", *(tmp_path / "out").glob("toy-best-*.safetensors")]
    assert len(found) == 2
    assert sorted(kept) == sorted(map(str, found))


class InTheWay:
    """Puts a folder where the final file is to be."""

    @hookimpl
    def run_started(self, run: Run) -> None:
        run.results.files.final.mkdir()


class Listening:
    """Notes which files are there when they are told of."""

    def __init__(self) -> None:
        self.there: list[bool] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind == "saved":
            self.there.append(Path(event.values["path"]).exists())


def test_no_file_is_removed_before_it_is_told_of(train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackgroundWriter, "poll", lambda _: None)  # the latest telling that can be
    listening = Listening()
    path = train_toy("--save_every_n_steps", "1", "--save_last_n_steps", "1", plugin=listening)
    assert listening.there == [True] * 7
    assert len(list(path.parent.glob("*-step*"))) == 2


class Large:
    """Makes a weight larger than half precision can hold, behind the last step."""

    @hookimpl(tryfirst=True)
    def run_finished(self, run: Run) -> None:
        next(iter(run.network.modules.parameters())).data.fill_(1e5)


def test_weights_beyond_half_precision_are_written_as_trained(train_toy: TrainToy) -> None:
    notes: list[str] = []

    class Noting(Large):
        @hookimpl
        def happened(self, event: Event) -> None:
            notes.extend([event.values["text"]] if event.kind == "note" else [])

    found = load_file(train_toy("--save_precision", "fp16", plugin=Noting()))
    assert {one.dtype for one in found.values()} == {torch.float32}
    assert any("beyond the range of save_precision" in note for note in notes)
