from __future__ import annotations

import threading
from pathlib import Path

import pytest

from loracore import LoracoreError
from loracore.training.results.writing import BackgroundWriter


@pytest.fixture
def told() -> list[LoracoreError | None]:
    return []


def test_a_job_runs_on_another_thread_and_is_told_of_on_this_one(tmp_path: Path) -> None:
    threads: list[threading.Thread] = []
    writer = BackgroundWriter()
    writer.submit(
        lambda: threads.append(threading.current_thread()),
        tmp_path / "a",
        lambda _: threads.append(threading.current_thread()),
    )
    writer.settle()
    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()


def test_what_cannot_be_written_is_told_and_the_next_job_runs(tmp_path: Path, told: list[LoracoreError | None]) -> None:
    (tmp_path / "file").touch()
    writer = BackgroundWriter()
    writer.submit(lambda: (tmp_path / "file" / "a").write_text("x"), tmp_path / "file" / "a", told.append)
    writer.submit(lambda: (tmp_path / "b").write_text("x"), tmp_path / "b", told.append)
    writer.settle()
    assert isinstance(told[0], LoracoreError)
    assert str(tmp_path / "file" / "a") in str(told[0])
    assert told[1] is None
    assert (tmp_path / "b").exists()


def test_a_fault_of_the_program_is_raised_and_the_next_job_runs(
    tmp_path: Path, told: list[LoracoreError | None]
) -> None:
    writer = BackgroundWriter()
    writer.submit(lambda: 1 / 0, tmp_path / "a", told.append)
    with pytest.raises(ZeroDivisionError):
        writer.settle()
    writer.submit(lambda: None, tmp_path / "b", told.append)
    writer.settle()
    assert told == [None]


def test_poll_waits_for_nothing(tmp_path: Path, told: list[LoracoreError | None]) -> None:
    writer, go = BackgroundWriter(), threading.Event()
    writer.submit(go.wait, tmp_path / "a", told.append)
    writer.poll()
    assert told == []
    go.set()
    writer.settle()
    assert told == [None]


def test_only_so_many_jobs_wait(tmp_path: Path, told: list[LoracoreError | None]) -> None:
    writer, go = BackgroundWriter(waiting=1), threading.Event()
    writer.submit(go.wait, tmp_path / "a", told.append)
    writer.submit(go.wait, tmp_path / "b", told.append)
    third = threading.Thread(target=writer.submit, args=(go.wait, tmp_path / "c", told.append))
    third.start()
    third.join(0.05)
    assert third.is_alive()
    go.set()
    third.join()
    writer.settle()
    assert told == [None, None, None]
