from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from loracore.training.steps.control import Agreement, Control

CPU = torch.device("cpu")


def send(number: int) -> None:
    """Send this process a signal; its handler runs before the next line."""
    os.kill(os.getpid(), number)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops_at_once(number: int) -> None:
    control = Control()
    with control.listening():
        send(number)
        assert control.interrupted
        with pytest.raises(KeyboardInterrupt):
            send(number)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_a_run_that_ends_of_itself_hears_signals_as_well() -> None:
    control = Control()
    with control.listening():
        control.stop("no better loss")
        send(signal.SIGINT)  # the step is still being taken
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
    control = Control()
    with control.listening():
        control.interrupt("asked for in another process")
        control.end()
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Control().listening():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


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
