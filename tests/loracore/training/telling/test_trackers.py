from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from loracore.config.options import LoggingOptions
from loracore.config.tracker_names import IN_FOLDER, TRACKER_PACKAGES, tracker_names
from loracore.training.telling.trackers import init_arguments, tracker_folder
from tests.toy_runs import TrainToy


class Stubborn(tracking.GeneralTracker):  # type: ignore[misc]  # accelerate is untyped
    """A tracker that somebody has installed, and that fails where it is told to."""

    name = "trackio"
    requires_logging_directory = False
    fails_at = ""

    def __init__(self, run_name: str, **_: Any) -> None:
        super().__init__()
        self.run_name = run_name
        self.calls = 0

    def start(self) -> None:
        self._fail("start")

    @property
    def tracker(self) -> Any:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        assert values
        self._fail("store")

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        print(f"told of {step}: {len(values)}")  # noqa: T201  # read back by the test
        self._fail("log")

    def finish(self) -> None:
        self._fail("finish")

    def _fail(self, place: str) -> None:
        if place in self.fails_at:
            raise ConnectionError("unreachable with SECRET123")


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stubborn]]:
    """A tracker that fails, in the place of one that is not installed here."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Stubborn)
    monkeypatch.setattr("loracore.defaults.findings.logging_findings.find_spec", lambda _: object())
    yield Stubborn
    Stubborn.fails_at = ""


TRACKIO = ("--log_with", "trackio", "--huggingface_token", "SECRET123", "--log_config")


def test_tensorboard_is_told_the_fields_scalars(train_toy: TrainToy, tmp_path: Path) -> None:
    train_toy("--logging_dir", str(tmp_path / "tb"), "--log_prefix", "toy", "--log_tracker_name", "fish")
    (folder,) = (tmp_path / "tb").iterdir()
    assert folder.name.startswith("toy2")
    assert folder.name.removeprefix("toy").isdigit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        read = EventAccumulator(str(folder / "fish"))
        read.Reload()
    names = {"loss/current", "loss/average", "loss/epoch_average", "lr/unet", "lr/group0"}
    assert names <= set(read.Tags()["scalars"])
    assert [one.step for one in read.Scalars("loss/current")] == [1, 2, 3, 4, 5, 6]
    assert [one.step for one in read.Scalars("loss/epoch_average")] == [1, 2]
    assert [one.value for one in read.Scalars("lr/unet")] == pytest.approx([0.01] * 6)


def test_a_tracker_that_cannot_start_is_said_and_the_run_goes_on(
    train_toy: TrainToy, stubborn: type[Stubborn], capsys: pytest.CaptureFixture[str]
) -> None:
    stubborn.fails_at = "start"
    assert train_toy(*TRACKIO).is_file()
    said = capsys.readouterr()
    assert "trackio could not be started, the run goes on without it: ConnectionError: unreachable" in said.err
    assert "SECRET" not in said.err + said.out
    assert "told of" not in said.out


@pytest.mark.parametrize(("words", "told"), [(TRACKIO, True), (TRACKIO[:-1], False)])
def test_options_are_told_when_log_config_asks_for_it(
    train_toy: TrainToy,
    stubborn: type[Stubborn],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: bool,
) -> None:
    stubborn.fails_at = "store"
    train_toy(*words)
    assert ("trackio could not be started" in capsys.readouterr().err) == told


def test_a_tracker_that_keeps_failing_is_left_alone(
    train_toy: TrainToy, stubborn: type[Stubborn], capsys: pytest.CaptureFixture[str]
) -> None:
    stubborn.fails_at = "log finish"
    assert train_toy(*TRACKIO).is_file()
    said = capsys.readouterr()
    assert said.err.count("trackio failed 3 times in a row and is told nothing more") == 1
    assert said.out.count("told of") == 3
    assert "SECRET" not in said.err


def test_a_tracker_that_cannot_end_takes_nothing_with_it(
    train_toy: TrainToy, stubborn: type[Stubborn], capsys: pytest.CaptureFixture[str]
) -> None:
    stubborn.fails_at = "finish"
    assert train_toy(*TRACKIO).is_file()
    assert "trackio could not be ended" in capsys.readouterr().err


def test_wandb_is_told_offline_and_writes_no_key(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    key = "SECRET123" * 5
    monkeypatch.setattr("sys.argv", ["loracore", "train", "--wandb_api_key", key])
    words = ("--log_with", "wandb", "--logging_dir", str(tmp_path / "w"), "--wandb_run_name", "fishrun", "--log_config")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a fish --w 64 --h 64 --s 1\n", encoding="utf-8")
    drawn = ("--sample_prompts", str(prompts), "--sample_every_n_steps", "3")
    train_toy(*words, *drawn, "--wandb_api_key", key)
    wandb.teardown()  # its own process has written everything behind this
    said = capsys.readouterr()
    assert "wandb could not" not in said.err
    files = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    (run,) = (path for path in files if path.suffix == ".wandb")
    assert b"loss/current" in run.read_bytes()
    assert b"fishrun" in run.read_bytes()
    assert len([path for path in files if path.suffix == ".png" and path.name.startswith("sample_0")]) == 2
    home = [path for path in Path.home().rglob("*") if path.is_file()]
    assert not [path for path in (*files, *home) if b"SECRET123" in path.read_bytes()]
    assert "SECRET123" not in said.out + said.err


@pytest.mark.parametrize(
    ("log_with", "folder", "expected"),
    [
        (None, None, ()),
        (None, "logs", ("tensorboard",)),
        ("wandb", None, ("wandb",)),
        ("all", "logs", ("tensorboard", "wandb")),
    ],
)
def test_trackers_follow_from_two_options(log_with: str | None, folder: str | None, expected: tuple[str, ...]) -> None:
    assert tracker_names(log_with, folder) == expected


def test_our_names_of_trackers_are_accelerates() -> None:
    known = tracking.LOGGER_TYPE_TO_CLASS
    assert set(TRACKER_PACKAGES) == set(known)
    assert {name for name, kind in known.items() if kind.requires_logging_directory} == IN_FOLDER


def test_a_runs_folder_is_named_for_its_second() -> None:
    now = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    assert tracker_folder(LoggingOptions(logging_dir="logs", log_prefix="a-"), now) == Path("logs/a-20260203040506")


def test_a_file_of_arguments_stands_in_the_place_of_the_runs_name(tmp_path: Path) -> None:
    path = tmp_path / "trackers.toml"
    path.write_text('[wandb]\nentity = "we"\n', encoding="utf-8")
    options = LoggingOptions(wandb_run_name="fish", log_tracker_config=str(path))
    assert init_arguments(options) == {"wandb": {"entity": "we"}}
    assert init_arguments(LoggingOptions(wandb_run_name="fish")) == {"wandb": {"name": "fish"}}
