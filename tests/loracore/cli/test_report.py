from __future__ import annotations

from pathlib import Path

from tests.conftest import RunCli
from tests.loracore.report.told_runs import started, step, write_events


def test_the_page_of_a_killed_run_is_made(cli: RunCli, tmp_path: Path) -> None:
    path = write_events(tmp_path / "out" / "fish-log" / "events.jsonl", [started(), step(1), step(2)])
    done = cli("report", str(tmp_path / "out"))
    assert done.stdout.strip() == str(path.with_name("report.html"))
    assert "2 of 1000" in path.with_name("report.html").read_text("utf-8")


def test_a_folder_without_a_run_is_an_error_without_traceback(cli: RunCli, tmp_path: Path) -> None:
    done = cli("report", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_a_page_that_cannot_be_written_is_an_error(cli: RunCli, tmp_path: Path) -> None:
    path = write_events(tmp_path / "events.jsonl", [started()])
    done = cli("report", str(path), "--output", str(tmp_path / "nowhere" / "x.html"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
