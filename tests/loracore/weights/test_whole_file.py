from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loracore import LoracoreError
from loracore.weights.whole_file import whole_file


def write(path: Path) -> None:
    with whole_file(path, "give another name") as file:
        file.write(b"new")


def test_a_failing_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"good")

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LoracoreError, match=r"No space left.*make room, or give another name"):
        write(path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a.safetensors", b"good")]


def test_a_name_that_cannot_be_is_no_matter_of_room(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LoracoreError, match=r"cannot be written: .* \(give another name\)"):
        write(tmp_path / "file" / "a.safetensors")


def test_an_interrupt_leaves_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
