from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loracore import LoracoreError
from loracore.training.telling.event_log import EventLog
from loracore.types import Event
from tests.toy_runs import TrainToy

SECRETS = ("--wandb_api_key", "SECRET123", "--huggingface_token", "hf_SECRET456")


def lines(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_run_writes_every_step_in_its_order(train_toy: TrainToy) -> None:
    events = lines(train_toy("--save_every_n_steps", "4").parent / "toy-log" / "events.jsonl")
    assert (events[0]["kind"], events[-1]["kind"]) == ("started", "finished")
    steps = [event for event in events if event["kind"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3, 4, 5, 6]
    assert all(event["loss"] > 0 and event["lr"] for event in steps)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert {Path(event["path"]).name for event in events if event["kind"] == "saved"} >= {
        "toy-step00000004.safetensors",
        "toy.safetensors",
    }


def test_the_first_line_tells_options_and_environment(train_toy: TrainToy) -> None:
    first = lines(train_toy("--max_train_steps", "1").parent / "toy-log" / "events.jsonl")[0]
    assert first["config"]["learning_rate"] == 0.01
    assert "learning_rate" in first["given"]
    assert "network_dim" not in first["given"]
    assert first["environment"]["seed"] == 1
    assert "torch" in first["environment"]["versions"]
    assert first["length"]["steps"] == 1


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    log.write(Event("step", 1, {"loss": float("nan"), "lr": {"unet": float("inf")}, "path": Path("a")}))
    log.close()
    (event,) = lines(log.path)
    assert (event["loss"], event["lr"], event["path"]) == (None, {"unet": None}, "a")


def test_every_line_is_on_the_disk_before_the_log_is_closed(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write(Event("step", 1, {}))
    assert [event["step"] for event in lines(log.path)] == [1]
    log.close()


def test_a_line_behind_a_torn_one_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"kind": "st', encoding="utf-8")
    log = EventLog(tmp_path)
    log.write(Event("step", 7, {}))
    log.close()
    assert json.loads(log.path.read_text("utf-8").splitlines()[1])["step"] == 7


def test_a_log_that_cannot_be_written_is_said_once_and_the_run_goes_on(
    train_toy: TrainToy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "toy-log").write_text("in the way", encoding="utf-8")
    assert train_toy().is_file()
    assert capsys.readouterr().err.count("events cannot be written down") == 1


def test_no_secret_is_written_or_said(
    train_toy: TrainToy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["loracore", "train", *SECRETS, "--wandb_api_key=SECRET123"])
    folder = train_toy(*SECRETS, "--logging_dir", str(tmp_path / "out" / "tb"), "--log_config").parent
    said = capsys.readouterr()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"events.jsonl", "report.html", "toy.safetensors"} <= {path.name for path in files}
    for data in (*(path.read_bytes() for path in files), (said.out + said.err).encode()):
        assert b"SECRET" not in data


def test_an_event_that_holds_a_secret_is_written_without_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path, ['a"quoted\\key', "1"])
    log.write(Event("note", 11, {"text": 'login with a"quoted\\key failed'}))
    log.close()
    (event,) = lines(log.path)
    assert (event["text"], event["step"]) == ("login with (hidden) failed", 11)


def test_a_run_that_fails_leaves_its_reason_as_the_last_line(train_toy: TrainToy, tmp_path: Path) -> None:
    class Breaks:
        def step_done(self, step: int) -> None:
            if step == 3:
                raise LoracoreError("enough")

    from loracore import hookimpl

    Breaks.step_done = hookimpl(Breaks.step_done)  # type: ignore[method-assign]  # marked after the class is made
    with pytest.raises(LoracoreError):
        train_toy(plugin=Breaks())
    last = lines(tmp_path / "out" / "toy-log" / "events.jsonl")[-1]
    assert (last["kind"], last["step"]) == ("finished", 3)
    assert "enough" in last["reason"]
