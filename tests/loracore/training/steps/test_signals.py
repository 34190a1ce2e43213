from __future__ import annotations

import os
import signal

import pytest

from loracore.training.steps.signals import STOPPING, Wishes, heard


def test_signals_within_a_second_are_one_wish() -> None:
    times = [0.0, 0.2, 0.9, 1.0, 1.5, 2.5]
    wishes = Wishes(iter(times).__next__)
    assert [wishes.new() for _ in times] == [True, False, False, True, False, True]
    assert wishes.count == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP")
def test_what_a_process_was_told_to_ignore_stays_ignored() -> None:
    numbers: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heard(STOPPING, lambda number, _: numbers.append(number)):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # and so it is in every process it starts
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert numbers == [signal.SIGTERM]


def test_a_signal_that_the_system_lacks_is_left_out() -> None:
    before = signal.getsignal(signal.SIGINT)
    with heard(["SIGOFANOTHERSYSTEM", "SIGINT"], lambda *_: None):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
