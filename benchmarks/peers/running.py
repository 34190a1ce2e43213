"""A trainer's process: started, waited for, and what it has written read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.sides import Side
from benchmarks.peers.work import Work

_ROOT = Path(__file__).parents[2]
TAIL = 3000  # characters of a failed process's output


@dataclass(frozen=True, slots=True)
class Trainer:
    """One side of the comparison, as it is on this machine."""

    side: Side
    words: tuple[str, ...] = ()  # further options of its own
    checkout: Path | None = None  # of a peer's sources
    python: str = sys.executable  # the interpreter of an environment that has what it needs


@dataclass(frozen=True, slots=True)
class Place:
    """Where processes run."""

    device: str  # "cpu" or "cuda"
    threads: int | None  # of torch, on the CPU; None: as many as it takes

    def environment(self) -> dict[str, str]:
        """Return the variables of a process: nobody asks the hub, and with "cpu" nobody sees a card."""
        own = {"PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        own |= {"CUDA_VISIBLE_DEVICES": ""} if self.device == "cpu" else {}
        own |= {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {**os.environ, **own}


@dataclass(frozen=True, slots=True)
class Done:
    """What a process has left."""

    record: Path
    adapters: Path
    started: float  # s since 1970


def train(trainer: Trainer, work: Work, out: Path, place: Place, order: Sequence[str] = ()) -> Done:
    """Train in a process of its own; a peer takes pictures in ``order``.

    Raises RuntimeError with the end of its output when it fails.
    """
    out.mkdir(parents=True)
    record, result, log = out / "record.json", out / "result", out / "log.txt"
    command = _command(trainer, work, record, result, order)
    words = [*command, *trainer.side.words(work, result), *trainer.words]
    started = time.time()
    checked(trainer.side.name, run_to_end(words, log, place.environment()), log, record)
    return Done(record, result / "lora.safetensors", started)


def run_to_end(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Run a command from the root of the repository, write what it says to a file, and return its exit code."""
    with log.open("wb") as said:
        return subprocess.run(  # noqa: S603  # our own commands
            words, stdout=said, stderr=subprocess.STDOUT, env=environment, cwd=_ROOT, check=False
        ).returncode


def checked(name: str, code: int, log: Path, record: Path) -> str:
    """Return what a process has said; raise RuntimeError with the end of it when it failed or left no record."""
    said = log.read_text(encoding="utf-8", errors="replace")
    if code or not record.exists():
        message = f"{name} has failed with exit code {code}:\n{said[-TAIL:]}"
        raise RuntimeError(message)
    return said


def _command(trainer: Trainer, work: Work, record: Path, result: Path, order: Sequence[str]) -> list[str]:
    """Return what starts the process, which reads what it has to know from a file."""
    told = {
        "checkout": str(trainer.checkout or ""),
        "script": trainer.side.scripts.get(work.architecture.plugin),
        "draws": str(work.draws),
        "record": str(record),
        "order": list(order),
        **trainer.side.told(work, result),
    }
    path = record.with_name("work.json")
    path.write_text(json.dumps(told), encoding="utf-8")
    return [trainer.python, "-m", trainer.side.module, str(path)]
