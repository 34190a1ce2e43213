from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

import pytest
import torch

from loracore.training.steps.control import Agreement, Control

CPU = torch.device("cpu")
SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def send(number: int) -> None:
    """Send this process a signal; its handler runs before the next line."""
    os.kill(os.getpid(), number)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_stops_at_once(number: int) -> None:
    clock = Clock()
    control = Control(clock)
    with control.listening():
        send(number)
        clock.now += 0.9
        send(signal.SIGTERM)  # the same wish, handed on by a launcher
        assert control.interrupted
        clock.now += 0.1
        with pytest.raises(KeyboardInterrupt):
            send(number)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_a_run_that_ends_of_itself_hears_signals_as_well() -> None:
    clock = Clock()
    control = Control(clock)
    with control.listening():
        control.stop("no better loss")
        send(signal.SIGINT)  # the step is still being taken
        clock.now += 1
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    control = Control()
    with control.listening():
        control.stop("no better loss")
        control.end()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_the_signal_that_another_process_heard_first_is_no_second_one() -> None:
    clock = Clock()
    control = Control(clock)
    with control.listening():
        control.interrupt("asked for in another process")
        control.end()
        send(signal.SIGINT)
        clock.now += 1
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Control().listening():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_listen_to_nothing() -> None:
    failed: list[BaseException] = []

    def listen() -> None:
        try:
            with Control().listening():
                pass
        except ValueError as error:  # signal's own, outside the main thread
            failed.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert failed == []


def test_the_first_reason_stays() -> None:
    control = Control()
    control.stop("no better loss")
    control.interrupt("SIGINT")
    assert control.reason == "no better loss"
    assert not control.interrupted


def test_alone_a_run_stops_at_once() -> None:
    control = Control()
    agreement = Agreement(control, CPU, processes=1, lag=4)
    assert not agreement.stops(agreement.wishes())
    control.stop("enough")
    assert agreement.stops(agreement.wishes())


@pytest.mark.parametrize("lag", [0, 3])
def test_all_processes_stop_behind_the_same_step(lag: int) -> None:
    controls = Control(), Control()
    agreements = [Agreement(control, CPU, processes=2, lag=lag) for control in controls]
    stopped = []
    for step in range(10):
        if step == 4:
            controls[1].interrupt("SIGTERM")
        summed = sum((agreement.wishes() for agreement in agreements), torch.zeros(2))
        answers = [agreement.stops(summed.clone()) for agreement in agreements]
        stopped.append(answers)
        if any(answers):
            break
    assert stopped[-1] == [True, True]
    assert len(stopped) == 5 + lag
    assert controls[0].interrupted


def summed(agreements: Sequence[Agreement]) -> torch.Tensor:
    return sum((agreement.wishes() for agreement in agreements), torch.zeros(2))


@pytest.mark.parametrize("lag", [0, 1])
def test_one_that_heard_a_signal_interrupts_all_that_were_to_end(lag: int) -> None:
    controls = Control(), Control()
    agreements = [Agreement(control, CPU, processes=2, lag=lag) for control in controls]
    controls[0].interrupt("SIGTERM")  # during a validation whose verdict is
    for control in controls:
        control.stop("no better loss")
    for _ in range(lag + 1):
        wishes = summed(agreements)
        answers = [agreement.stops(wishes.clone()) for agreement in agreements]
    assert answers == [True, True]
    assert [control.interrupted for control in controls] == [True, True]
    assert [control.reason for control in controls] == ["SIGTERM", "asked for in another process"]


def test_a_signal_that_came_too_late_for_the_sum_interrupts_nobody() -> None:
    controls = Control(), Control()
    agreements = [Agreement(control, CPU, processes=2, lag=0) for control in controls]
    controls[1].stop("no better loss")
    wishes = summed(agreements)
    controls[0].interrupt("SIGTERM")
    assert [agreement.stops(wishes.clone()) for agreement in agreements] == [True, True]
    assert [control.interrupted for control in controls] == [False, False]
    assert [control.reason for control in controls] == ["asked for in another process", "no better loss"]
