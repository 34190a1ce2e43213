from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import torch

from loracore.errors import LoracoreError
from loracore.training.results.outputs import ResultFiles
from loracore.training.state.folder import (
    TENSORS,
    TREE,
    clean_states,
    read_head,
    read_state,
    remove_state,
    states_in,
    write_state,
)

VERSIONS = {"loracore": "1"}


def write(path: Path, number: int) -> None:
    write_state(path, number, VERSIONS, {"number": number, "tensor": torch.full((9,), float(number))})


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "toy-state"
    write(path, 3)
    return path


@pytest.fixture
def names(tmp_path: Path) -> ResultFiles:
    return ResultFiles(tmp_path, "toy", ".safetensors").states


def test_a_state_is_read_as_it_was_written(state: Path) -> None:
    assert read_head(state).step == 3
    assert read_state(state)["tensor"].tolist() == [3.0] * 9


def test_a_state_takes_the_place_of_an_older_one_and_leaves_nothing_beside(state: Path) -> None:
    write(state, 4)
    assert read_state(state)["number"] == 4
    assert listed(state.parent) == [state.name]


def test_a_state_can_be_read_at_every_moment_of_being_replaced(state: Path) -> None:
    found: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            found.append(read_state(state)["number"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(4, 60):
        write(state, number)
    done.set()
    watcher.join()
    assert found == sorted(found)
    assert found


@pytest.mark.parametrize("name", [TREE, TENSORS])
def test_a_missing_file_is_named(state: Path, name: str) -> None:
    (state / name).unlink()
    with pytest.raises(LoracoreError, match=f"damaged: {name} is missing"):
        read_state(state)


@pytest.mark.parametrize("name", [TREE, TENSORS])
def test_a_truncated_file_is_damage(state: Path, name: str) -> None:
    content = (state / name).read_bytes()
    (state / name).write_bytes(content[:-9])
    with pytest.raises(LoracoreError, match="damaged"):
        read_state(state)


@pytest.mark.parametrize(("name", "before", "after"), [(TREE, b'"number": 3', b'"number": 4'), (TENSORS, b"@@", b"AA")])
def test_a_changed_file_is_damage(state: Path, name: str, before: bytes, after: bytes) -> None:
    content = (state / name).read_bytes()
    changed = content.replace(before, after) if before in content else content[:-1] + b"\x01"
    assert changed != content
    (state / name).write_bytes(changed)
    with pytest.raises(LoracoreError, match=f"{name} is not as it was written"):
        read_state(state)


@pytest.mark.parametrize(("number", "age"), [(0, "an older"), (2, "a newer")])
def test_another_format_is_said_to_be_one(state: Path, number: int, age: str) -> None:
    text = (state / TREE).read_text(encoding="utf-8")
    (state / TREE).write_text(text.replace('"format": 1', f'"format": {number}'), encoding="utf-8")
    with pytest.raises(LoracoreError, match=f"format {number} of {age} version"):
        read_state(state)


def test_where_there_is_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="there is no such state"):
        read_state(tmp_path / "toy-state")


def test_a_state_that_stepped_aside_is_found_and_brought_back(state: Path, names: ResultFiles) -> None:
    state.rename(state.with_name(".toy-state.aside"))  # killed between the two renames
    assert read_state(state)["number"] == 3
    assert states_in(names) == [state]
    clean_states(names)
    assert listed(state.parent) == [state.name]


def test_leftovers_of_killed_runs_go_and_nothing_else(state: Path, names: ResultFiles) -> None:
    shutil.copytree(state, state.with_name(".toy-state.tmp-123"))
    shutil.copytree(state, state.with_name(".toy-state.aside"))
    (state.parent / ".toy-step00000007.safetensors.tmp-123").write_bytes(b"half")
    kept = [".toy-step7-state.tmp-1", ".other-state.tmp-123", ".toy.tmp-x", "toy-000001-state"]
    for name in kept:
        (state.parent / name).mkdir()
    clean_states(names)
    assert listed(state.parent) == sorted([state.name, *kept])


def test_a_disk_that_fills_up_leaves_the_old_state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(state, 4)
    monkeypatch.undo()
    assert read_state(state)["number"] == 3
    assert listed(state.parent) == [state.name]


def test_a_removed_state_is_gone(state: Path) -> None:
    remove_state(state)
    assert listed(state.parent) == []
