"""Several processes of one run, started by itself or by somebody else's launcher."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO

import click

from loracore.cli.secret_flags import handing_over, parted
from loracore.config.config import Config
from loracore.config.options import ProcessOptions
from loracore.config.secret_values import secret_names
from loracore.errors import ConfigError

#: Seconds that the other processes have to end by themselves after one has failed, and again after they were asked to.
GRACE = 20.0
_POLL = 0.05
_USER_ERROR = 2


@dataclass(frozen=True, eq=False, slots=True)
class Child:
    """One process of the run."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes] | None  # what it says on stderr; None: it says it to the user


def launched_by_another() -> bool:
    """Tell whether a launcher has made this process one of several, or the only one."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


def rank() -> int:
    """Return the place of this process among those that a launcher has started; 0 of one alone."""
    return int(os.environ.get("RANK", "0"))


def check_launcher(config: Config) -> None:
    """Raise ConfigError for what a launcher has set up, and a run cannot be."""
    given = config[ProcessOptions].num_processes
    count = int(os.environ.get("WORLD_SIZE", "1"))
    place = config.place("num_processes")
    if launched_by_another() and given not in (None, count):
        message = f"num_processes is {given}, but the launcher has started {count}"
        raise ConfigError(message, where=place, fix="leave num_processes out: the launcher decides")
    for name in ("DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in {"true", "1"}:
            message = f"accelerate is set up for {name}, which divides what is trained; here that is small, and is not"
            raise ConfigError(message, where="accelerate launch", fix="leave it out; use FSDP for a large model")


def leave_to_processes(config: Config) -> None:
    """Do the command that is being called in several processes, and leave with their exit code.

    Returns in the processes themselves, and where the options ask for no others. Raises ConfigError for what a launcher
    has set up and a run cannot be, and for more processes than devices.
    """
    check_launcher(config)
    count = config[ProcessOptions].num_processes or 1
    if launched_by_another() or count == 1:
        if rank():  # of several processes, the first one says what is worth saying
            logging.disable(logging.WARNING)
        return
    context = click.get_current_context()
    words, secret = parted(context.args, secret_names(config))
    context.exit(launch([str(context.info_name), *words], count, secret))


def launch(words: Sequence[str], count: int, secret: Sequence[str] = ()) -> int:
    """Run ``loracore`` with these words in ``count`` processes on this machine; return the first failure's exit code.

    Words that are ``secret`` reach them on another way than their command lines. The main process has this one's input
    and output; of another, only what it fails of is shown. SIGINT and SIGTERM are handed on, and waited for. Raises
    ConfigError when this machine has fewer devices than processes.
    """
    _check_devices(count)
    with ExitStack() as stack:
        environment, children = {**_environment(count), **handing_over(secret)}, list[Child]()
        stack.enter_context(_handed_on(children))
        for index in range(count):
            errors = stack.enter_context(tempfile.TemporaryFile()) if index else None
            children.append(_started(words, {**environment, "RANK": str(index), "LOCAL_RANK": str(index)}, errors))
        try:
            failed = _wait(children)
        finally:
            for child in children:
                child.process.kill()
        return _reported(children, failed)


def _check_devices(count: int) -> None:
    from loracore.training.processes import devices, too_many_processes  # brings torch

    found = devices()
    if found is not None and found < count:
        raise too_many_processes(count, found)


def _environment(count: int) -> dict[str, str]:
    """Return what tells the processes of each other, in the words of torch's launcher."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    own = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    windows = {"USE_LIBUV": "0"} if sys.platform == "win32" else {}  # torch for Windows is built without it
    return {"OMP_NUM_THREADS": threads, **os.environ, **{name: str(value) for name, value in own.items()}, **windows}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _started(words: Sequence[str], environment: Mapping[str, str], errors: IO[bytes] | None) -> Child:
    """Start one process, in a group of its own: a terminal's Ctrl+C reaches it through this process alone, once."""
    quiet = {} if errors is None else {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
    command = [sys.executable, "-m", "loracore", *words]
    process = subprocess.Popen(command, env=environment, start_new_session=os.name == "posix", **quiet)  # type: ignore[call-overload]  # noqa: S603  # one dict of several types; our own module, no shell
    return Child(process, errors)


@contextmanager
def _handed_on(children: Sequence[Child]) -> Iterator[None]:
    """Hand signals on to the processes; on Windows a console hands Ctrl+C to all of them itself."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            if os.name == "posix" and child.process.poll() is None:
                child.process.send_signal(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    before = [(number, signal.signal(number, hand_on)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _wait(children: Sequence[Child]) -> Child | None:
    """Return when every process has ended, and the first of them that failed.

    After a failure the others have a time of grace, then they are asked to end, then they are ended. A process that a
    signal asked to stop has not failed of itself: whoever saves its work then is waited for.
    """
    failed: Child | None = None
    deadline, asked = float("inf"), False
    while any(child.process.poll() is None for child in children):
        time.sleep(_POLL)
        if failed is None:
            failed = next((child for child in children if _went_wrong(child)), None)
            deadline = float("inf") if failed is None else time.monotonic() + GRACE
        elif time.monotonic() > deadline:
            for child in children:
                (child.process.kill if asked else child.process.terminate)()
            deadline, asked = time.monotonic() + GRACE, True
    return failed or next((child for child in children if child.process.returncode), None)


def _went_wrong(child: Child) -> bool:
    """Tell whether a process failed, and was not asked to stop (130 and 143, or those signals)."""
    stopped = {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}
    return child.process.poll() is not None and child.process.returncode not in stopped


def _reported(children: Sequence[Child], failed: Child | None) -> int:
    """Say what the main process has not said, and return the exit code."""
    if failed is None:
        return 0
    code, said = failed.process.returncode, children[0].process.returncode == _USER_ERROR
    if failed.errors is not None and not (said and code == _USER_ERROR):
        failed.errors.seek(0)
        click.echo(f"process {list(children).index(failed)} of {len(children)} ended with exit code {code}:", err=True)
        click.echo(failed.errors.read().decode("utf-8", "replace"), err=True, nl=False)
    return code if code >= 0 else 128 - code
