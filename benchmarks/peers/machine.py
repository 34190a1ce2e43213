"""What everything ran on."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import time

import torch


def machine(device: str, threads: int | None) -> str:
    """Return a line that names processor or card, and the versions."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device == "cuda":
        return f"{torch.cuda.get_device_name(0)}; {versions}"
    used = torch.get_num_threads() if threads is None else threads
    return f"{platform.machine()}, {os.cpu_count()} cores, {used} threads; {versions}"


def heading(module: str, *facts: str) -> list[str]:
    """Return the first lines of a page: what is known of it, the date, and the command that this process was."""
    known = "; ".join([*facts, time.strftime("%Y-%m-%d")])
    return [known, "", f"`python -m {module} {shlex.join(sys.argv[1:])}`"]


def finish(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def busyness(device: str) -> str:
    """Return what may disturb a block: the card's clocks and temperature, or how many processes want a processor."""
    program = shutil.which("nvidia-smi") if device == "cuda" else None
    if program is not None:
        asked = ["--query-gpu=clocks.sm,clocks.mem,temperature.gpu", "--format=csv,noheader"]
        found = subprocess.run([program, *asked], capture_output=True, text=True, check=False)  # noqa: S603  # no input
        return found.stdout.strip()
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
