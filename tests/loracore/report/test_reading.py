from __future__ import annotations

from pathlib import Path

import pytest

from loracore import DataError
from loracore.report.reading import events_file, read_events


def test_torn_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind": "step", "step": 1}\n{"kind": "st\n[1]\n\xff\n{"kind": "step", "step": 2}\n{"ki')
    assert [event["step"] for event in read_events(path)] == [1, 2]


def test_a_file_its_folder_and_the_output_folder_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "fish-log" / "events.jsonl"
    path.parent.mkdir()
    path.touch()
    assert {events_file(place) for place in (path, path.parent, tmp_path)} == {path}


def test_a_folder_of_several_runs_names_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}-log").mkdir()
        (tmp_path / f"{name}-log" / "events.jsonl").touch()
    with pytest.raises(DataError, match="a-log"):
        events_file(tmp_path)


def test_a_folder_without_events_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no events"):
        events_file(tmp_path)
