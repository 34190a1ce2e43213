"""What a run tells of itself when it starts: options, versions, device, length, command."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from loracore.config.config import Config

if TYPE_CHECKING:
    from loracore.training.run import Run

_PACKAGES = ("loracore", "torch", "accelerate", "diffusers", "transformers", "safetensors")
_HIDDEN = "(hidden)"


def started_values(run: Run) -> dict[str, Any]:
    """Return the values of the event "started": config, given, environment, notes and length, all without secrets.

    "config" is every option by its name, "given" the names of those that the user gave.
    """
    config, length = run.config, run.length
    shown = config.shown()
    return {
        "config": shown,
        "given": [name for name in shown if config.given(name)],
        "environment": environment(run),
        "notes": list(run.notes),
        "length": {"steps": length.steps, "epochs": length.epochs, "steps_per_epoch": length.steps_per_epoch},
    }


def environment(run: Run) -> dict[str, Any]:
    """Return where and with what a run happens: versions, machine, device, seed, command."""
    device = run.processes.device
    found = {name: _version(name) for name in _PACKAGES}
    return {
        "command": command(sys.argv, secrets(run.config)),
        "seed": run.seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processes": run.processes.count,
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: number for name, number in found.items() if number is not None},
    }


def command(argv: Sequence[str], hidden: Iterable[str]) -> str:
    """Return a command line as a shell would take it, with every secret in it replaced."""
    line = shlex.join(argv)
    for secret in hidden:
        line = line.replace(shlex.quote(secret), _HIDDEN).replace(secret, _HIDDEN)
    return line


def secrets(config: Config) -> tuple[str, ...]:
    """Return the values of the options that are written nowhere, the longest first."""
    shown = config.shown()
    values = {value for name, value in config if name not in shown and isinstance(value, str) and value}
    return tuple(sorted(values, key=len, reverse=True))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
