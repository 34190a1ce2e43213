"""A trainer's process: started, waited for, and what it has written read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.work import Work

_ROOT = Path(__file__).parents[2]
_TAIL = 3000  # characters of a failed process's output


@dataclass(frozen=True, slots=True)
class Trainer:
    """One side of the comparison."""

    name: str
    words: tuple[str, ...] = ()  # further options of its own
    checkout: Path | None = None  # of a peer's sources; None: ours
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


def train(
    trainer: Trainer, work: Work, options: Sequence[str], out: Path, place: Place, order: Sequence[str] = ()
) -> Done:
    """Train in a process of its own, the ``options`` behind those of the work; a peer takes pictures in ``order``.

    Raises RuntimeError with the end of its output when it fails.
    """
    out.mkdir(parents=True)
    done = Done(out / "record.json", out / "result" / "lora.safetensors", time.time())
    words = [*_command(trainer, work, done, order), *work.words(done.adapters.parent), *options, *trainer.words]
    with (out / "log.txt").open("wb") as log:
        code = subprocess.run(  # noqa: S603  # our own commands
            words, stdout=log, stderr=subprocess.STDOUT, env=place.environment(), cwd=_ROOT, check=False
        ).returncode
    if code or not done.record.exists():
        said = (out / "log.txt").read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        message = f"{trainer.name} has failed with exit code {code}:\n{said}"
        raise RuntimeError(message)
    return done


def _command(trainer: Trainer, work: Work, done: Done, order: Sequence[str]) -> list[str]:
    """Return what starts the process; a peer's reads what it has to know from a file."""
    if trainer.checkout is None:
        module = [trainer.python, "-m", "benchmarks.peers.ours"]
        return [*module, str(work.draws), str(done.record), "--arch", work.architecture.plugin]
    told = {
        "draws": str(work.draws),
        "record": str(done.record),
        "order": list(order),
        "script": work.architecture.script,
        "small": work.size.small,
    }
    path = done.record.with_name("work.json")
    path.write_text(json.dumps(told), encoding="utf-8")
    return [trainer.python, "-m", "benchmarks.peers.sd_scripts", str(trainer.checkout), str(path)]
