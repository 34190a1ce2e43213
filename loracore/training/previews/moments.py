"""When previews are drawn, and what their files are called; no torch here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from loracore.config.options import PreviewOptions
from loracore.training.steps.length import Length

FOLDER = "sample"


@dataclass(frozen=True, slots=True)
class Moment:
    """One time of a run at which all prompts are drawn."""

    scope: Literal["first", "step", "epoch"]
    step: int  # taken so far
    epoch: int  # 1-based; 0 before the first step

    @property
    def name(self) -> str:
        """Return the moment as the field's files have it: epochs with an e, steps without; e000000 comes first."""
        return f"{self.step:06d}" if self.scope == "step" else f"e{self.epoch:06d}"


def due_moment(options: PreviewOptions, length: Length, step: int) -> Moment | None:
    """Return the moment behind a step (1-based), if one is due: every n epochs, else every n steps."""
    epoch = length.epoch_of(step)
    if options.sample_every_n_epochs:
        counts = epoch % options.sample_every_n_epochs == 0
        return Moment("epoch", step, epoch) if counts and length.ends_epoch(step) else None
    due = options.sample_every_n_steps and step % options.sample_every_n_steps == 0
    return Moment("step", step, epoch) if due else None


def file_name(output_name: str | None, moment: Moment, index: int, stamp: int, seed: int | None) -> str:
    """Return a picture's name: ``NAME_e000001_00_20260131235959_42.png``.

    ``stamp`` is in seconds since the epoch, shown in local time. Without an output name, or without a seed of the
    prompt's own, these parts are left out.
    """
    when = time.strftime("%Y%m%d%H%M%S", time.localtime(stamp))
    parts = [output_name, moment.name, f"{index:02d}", when, None if seed is None else str(seed)]
    return "_".join(part for part in parts if part is not None) + ".png"
