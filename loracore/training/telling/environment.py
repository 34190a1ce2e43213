"""What a run tells of itself when it starts: options, versions, device, length, command."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from loracore.config.secret_values import secret_values, without_secrets
from loracore.training.run import Run

_PACKAGES = ("loracore", "torch", "accelerate", "diffusers", "transformers", "safetensors")


def started_values(run: Run) -> dict[str, Any]:
    """Return the values of the event "started": config, given, environment, notes, resumed, length; no secrets.

    "config" is every option by its name, "given" the names of those that the user gave, "resumed" whether the run goes
    on from a state.
    """
    config, length = run.config, run.length
    shown = config.shown()
    return {
        "config": shown,
        "given": [name for name in shown if config.given(name)],
        "environment": environment(run),
        "notes": list(run.notes),
        "resumed": run.start.resumed,
        "length": {"steps": length.steps, "epochs": length.epochs, "steps_per_epoch": length.steps_per_epoch},
    }


def environment(run: Run) -> dict[str, Any]:
    """Return where and with what a run happens: versions, machine, device, seed, command."""
    device = run.processes.device
    found = {name: _version(name) for name in _PACKAGES}
    return {
        "command": _command(sys.argv, secret_values(run.config)),
        "seed": run.seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processes": run.processes.count,
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: number for name, number in found.items() if number is not None},
    }


def _command(argv: Sequence[str], secrets: Sequence[str]) -> str:
    """Return a command line as a shell would take it; secrets go first, for quoting would change them."""
    return shlex.join([without_secrets(word, secrets) for word in argv])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
