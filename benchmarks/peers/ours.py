"""Our side: ``loracore train`` in a process of its own, with the work's draws in place of those of the core.

``python -m benchmarks.peers.ours WORK WORDS…`` is that process; WORK is a JSON file: paths of "draws" and "record".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.peers.draws import Draws
from benchmarks.peers.recording import Recording
from loracore import Batch, Event, hookimpl
from loracore.cli.main import run
from loracore.training import train as training


@dataclass(eq=False, slots=True)
class Injected:
    """An extension that draws what the work says, and notes what a step took."""

    draws: Draws
    recording: Recording

    @hookimpl
    def draw_timesteps(self, batch: Batch) -> Tensor:
        """Begin a step: return its timesteps (B)."""
        self.draws.next_step(batch.latents.device)
        return self.draws.timesteps_there()

    @hookimpl
    def draw_noise(self) -> Tensor:
        """Return the step's noise (B,C,h,w)."""
        return self.draws.noise()

    @hookimpl
    def step_done(self, ids: tuple[str, ...]) -> None:
        """Note moment and pictures."""
        self.recording.step_done()
        self.recording.order += [Path(one).stem for one in ids]

    @hookimpl
    def happened(self, event: Event) -> None:
        """Note the loss, a few steps later: nobody waits for it."""
        if event.kind == "step":
            self.recording.losses.append(event.values["loss"])


def train(draws: Path, record: Path, words: Sequence[str]) -> int:
    """Train by these words of the command line, write what was noted, and return the exit code."""
    injected = Injected(Draws(load_file(draws)), Recording(cuda=torch.cuda.is_available()))
    whole = training.train

    def joined(config: Any, plugins: Any, *rest: Any) -> Path | None:
        plugins.register(injected, name="extension of the benchmark")
        return whole(config, plugins, *rest)

    with patch.object(training, "train", joined):
        code = run(["train", *words])
    injected.recording.write(record)
    return code


def main(work: str, *words: str) -> int:
    """Train as a process of its own is told to, by a file and the words of the command line; return the exit code."""
    told = json.loads(Path(work).read_text(encoding="utf-8"))
    return train(Path(told["draws"]), Path(told["record"]), words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
