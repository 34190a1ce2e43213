from __future__ import annotations

from pathlib import Path

from loracore.report.writing import write_report
from tests.loracore.report.told_runs import started, write_events
from tests.toy_runs import TrainToy


def test_a_run_leaves_its_page_behind(train_toy: TrainToy) -> None:
    folder = train_toy("--gradient_accumulation_steps", "1").parent / "toy-log"
    text = (folder / "report.html").read_text("utf-8")
    assert "6 of 6" in text
    assert "toy.safetensors" in text
    assert "http" not in text.replace("http-equiv", "")


def test_an_older_page_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    events = write_events(tmp_path / "events.jsonl", [started()])
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    write_report(events)
    assert "old" not in (tmp_path / "report.html").read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl", "report.html"}
