from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from loracore import hookimpl
from loracore.training.results.final_file import free_path, places_elsewhere, tried_until
from tests.toy_runs import TrainToy


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.b.safetensors"
    assert free_path(path) == path
    path.touch()
    (tmp_path / "a.b-2.safetensors").touch()
    assert free_path(path) == tmp_path / "a.b-3.safetensors"


def test_it_is_tried_until_it_works() -> None:
    left = [False, False, True]
    assert tried_until(lambda: left.pop(0), 0.0)
    assert left == []


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_an_interrupt_gives_up() -> None:
    def interrupted() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    assert not tried_until(interrupted, 0.0)


def test_a_folder_that_is_gone_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.gettempdir", none)
    monkeypatch.chdir(tmp_path)
    assert list(places_elsewhere(tmp_path / "out", "a")) == [tmp_path / "a"]
    assert list(places_elsewhere(tmp_path, "a")) == []


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_a_first_signal_while_the_final_file_is_written_does_not_lose_it(train_toy: TrainToy) -> None:
    assert train_toy(plugin=Signalled()).exists()


class Signalled:
    """Sends this process a signal when the last step is over, before anything is saved."""

    @hookimpl(tryfirst=True)
    def run_finished(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
