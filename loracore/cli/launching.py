"""Several processes of one run, started by itself or by somebody else's launcher."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

import click

from loracore.cli.children import Child, Children
from loracore.cli.secret_flags import handing_over, parted
from loracore.config.config import Config
from loracore.config.options import ProcessOptions
from loracore.config.secret_values import secret_names
from loracore.errors import ConfigError, FailedElsewhereError, LoracoreError


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
    """Run ``loracore`` with these words in ``count`` processes on this machine; return the exit code.

    It is that of the first process that failed of itself. Words that are ``secret`` reach them on another way than
    their command lines. The main process has this one's input and output; of another, only what it fails of is shown.
    Signals are handed on, and waited for. Raises ConfigError when this machine has fewer devices than processes.
    """
    _check_devices(count)
    with ExitStack() as stack:
        environment, children = {**_environment(count), **handing_over(secret)}, Children()
        stack.enter_context(children.hearing())
        stack.callback(children.kill)
        for index in range(count):
            errors = stack.enter_context(tempfile.TemporaryFile()) if index else None
            own = {**environment, "RANK": str(index), "LOCAL_RANK": str(index)}
            children.start([sys.executable, "-m", "loracore", *words], own, errors)
        return _reported(children.all, children.wait())


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


def _reported(children: Sequence[Child], failed: Child | None) -> int:
    """Say what the main process has not said, and return the exit code."""
    if failed is None:
        return 0
    code, of_users = failed.process.returncode, LoracoreError.exit_code
    said = children[0].process.returncode in (of_users, FailedElsewhereError.exit_code)
    if failed.errors is not None and not (said and code == of_users):
        failed.errors.seek(0)
        click.echo(f"process {children.index(failed)} of {len(children)} ended with exit code {code}:", err=True)
        click.echo(failed.errors.read().decode("utf-8", "replace"), err=True, nl=False)
    return code if code >= 0 else 128 - code
