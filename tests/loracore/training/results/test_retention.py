from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore import SavingOptions
from loracore.config.options import StateOptions
from loracore.training.results.outputs import ResultFiles
from loracore.training.results.retention import Retention, epochs_between, superseded_epoch, superseded_step


def retention(folder: Path, *, states: StateOptions | None = None, **saving: Any) -> Retention:
    return Retention(ResultFiles(folder, "my", ".safetensors"), SavingOptions(**saving), states or StateOptions(), 12)


def write(found: Retention, numbers: range, what: str = "network", scope: str = "step") -> list[str]:
    """Save as a run does; return what stands in the end."""
    series = found.of(what, scope)  # type: ignore[arg-type]  # plain texts, for short tests
    for number in numbers:
        old = series.add(number)
        series.path(number).touch()
        for path in old:
            path.unlink()
        series.tidy(number)
    return sorted(path.name for path in series.path(0).parent.iterdir())


def test_what_goes_is_as_in_the_field(data: Path) -> None:
    golden = json.loads((data / "training.json").read_text(encoding="utf-8"))["removal"]
    for rule, kind in ((superseded_epoch, "epochs"), (superseded_step, "steps")):
        found = [rule(case["every"], case["last"], case["saved"]) for case in golden[kind]]
        assert found == [case["removed"] for case in golden[kind]]


def test_the_last_n_steps_are_steps_not_files(tmp_path: Path) -> None:
    found = retention(tmp_path, save_every_n_steps=10, save_last_n_steps=30)
    assert write(found, range(10, 60, 10)) == [f"my-step{step:08d}.safetensors" for step in (20, 30, 40, 50)]


@pytest.mark.parametrize("last", [0, 30])
def test_zero_keeps_all(tmp_path: Path, last: int) -> None:
    found = retention(tmp_path, save_every_n_steps=10, save_last_n_steps=last)
    assert len(write(found, range(10, 100, 10))) == (9 if last == 0 else 4)


def test_states_are_kept_as_files_are_unless_they_have_their_own_number(tmp_path: Path) -> None:
    own = StateOptions(save_last_n_epochs_state=1)
    for states, kept in ((None, 3), (own, 1)):
        folder = tmp_path / str(kept)
        folder.mkdir()
        found = retention(folder, states=states, save_every_n_epochs=1, save_last_n_epochs=3)
        assert len(write(found, range(1, 8), "state", "epoch")) == kept


def test_files_of_the_time_before_a_resume_go_too(tmp_path: Path) -> None:
    before = retention(tmp_path, save_every_n_steps=7, save_last_n_steps=100)
    write(before, range(7, 22, 7))
    after = retention(tmp_path, save_every_n_steps=10, save_last_n_steps=10)
    after.load(json.loads(json.dumps(before.state())))
    assert write(after, range(30, 60, 10)) == ["my-step00000040.safetensors", "my-step00000050.safetensors"]


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "my-step00000001.safetensors").touch()
    found = retention(tmp_path, save_every_n_steps=10, save_last_n_steps=10)
    assert "my-step00000001.safetensors" in write(found, range(10, 60, 10))


def test_the_newest_is_one_that_stands(tmp_path: Path) -> None:
    series = retention(tmp_path, save_every_n_steps=10).of("network", "step")
    for number in (10, 20):
        series.add(number)
    assert series.newest is None
    series.path(10).touch()
    assert series.newest == series.path(10)


@pytest.mark.parametrize(("ratio", "epochs", "expected"), [(3, 10, 3), (20, 10, 1), (0, 10, 5), (None, 10, 5)])
def test_a_ratio_says_how_often(ratio: int | None, epochs: int, expected: int) -> None:
    assert epochs_between(SavingOptions(save_n_epoch_ratio=ratio, save_every_n_epochs=5), epochs) == expected
