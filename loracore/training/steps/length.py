"""How many batches, steps and epochs a run has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loracore.config.options import TrainingOptions
from loracore.data.sampler import EpochOrder, MicroBatch


@dataclass(frozen=True, slots=True)
class Length:
    """A run's length; a step is one optimizer step."""

    batches_per_epoch: int
    steps_per_epoch: int
    steps: int
    epochs: int

    def epoch_of(self, step: int) -> int:
        """Return the epoch (1-based) that a step (1-based) belongs to."""
        return (step - 1) // self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch ends with a step (1-based); the run's last ends one, whole or not."""
        return step % self.steps_per_epoch == 0 or step == self.steps


def run_length(batches_per_epoch: int, training: TrainingOptions) -> Length:
    """Return the length that the options ask for; the last step of an epoch may have fewer batches."""
    steps_per_epoch = -(-batches_per_epoch // training.gradient_accumulation_steps)
    steps = training.max_train_steps
    if training.max_train_epochs is not None:
        steps = training.max_train_epochs * steps_per_epoch
    return Length(batches_per_epoch, steps_per_epoch, steps, -(-steps // steps_per_epoch))


@dataclass(frozen=True, slots=True)
class Window:
    """The micro-batches of one optimizer step."""

    step: int  # 1-based
    epoch: int  # 0-based
    batches: tuple[MicroBatch, ...]  # global: not yet shared between processes
    ends_epoch: bool

    @property
    def samples(self) -> int:
        """The number of samples that make this step, over all processes."""
        return sum(len(batch.rows) for batch in self.batches)


def windows(epoch: int, order: EpochOrder, accumulation: int, length: Length, taken: int = 0) -> Iterator[Window]:
    """Give the steps of one epoch (0-based) behind its first ``taken``, up to the run's last."""
    before = epoch * length.steps_per_epoch
    for within in range(taken, length.steps_per_epoch):
        number = before + within + 1
        if number > length.steps:
            return
        start, stop = within * accumulation, min((within + 1) * accumulation, len(order))
        yield Window(number, epoch, tuple(order[batch] for batch in range(start, stop)), length.ends_epoch(number))
