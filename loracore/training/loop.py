"""The only training loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from loracore.config.options import NetworkOptions
from loracore.data.loader import Loader, ahead
from loracore.data.sampler import MicroBatch, share
from loracore.errors import LoracoreError
from loracore.training.length import Window
from loracore.training.processes import loader_threads
from loracore.training.run import Run
from loracore.types import Examples


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """One process's part of a micro-batch, waiting to be loaded or loaded."""

    window: Window
    number: int  # of the micro-batch in its window
    batch: MicroBatch
    examples: Examples | None = None


def loaded_windows(run: Run) -> Iterator[tuple[Window, Sequence[Examples | None]]]:
    """Give every optimizer step with this process's examples, loaded ahead; None where it has no sample of a batch."""
    parts = (
        _Part(window, number, share(batch, run.processes.index, run.processes.count))
        for window in run.course.windows()
        for number, batch in enumerate(window.batches)
    )
    several: list[Examples | None] = []
    for part in ahead(partial(_loaded, run.loader), parts, _threads(run)):
        several.append(part.examples)
        if len(several) == len(part.window.batches):
            yield part.window, several
            several = []


def _threads(run: Run) -> int:
    """Return how many threads load ahead; one is enough to copy cached latents, more would only wait for each other."""
    wanted = loader_threads(run.config)
    return wanted if run.loader.latents is None else min(wanted, 1)


def _loaded(loader: Loader, part: _Part) -> _Part:
    if not part.batch.rows:  # fewer samples than processes
        return part
    return replace(part, examples=loader.examples(part.batch, part.window.epoch, part.window.step - 1))


def train_loop(run: Run) -> None:
    """Take every step, and tell the plugins.

    Raises LoracoreError when no step at all could be applied: there is nothing worth saving then.
    """
    try:
        run.hook.run_started(run=run)
        for window, examples in loaded_windows(run):
            _step(run, window, examples)
        run.history.settle()
        if run.history.skipped == run.length.steps:
            message = "no step could be applied: every loss or gradient was not finite"
            raise LoracoreError(message, fix="check the base model, or use mixed_precision bf16")
        run.network.clear_masks()
        run.hook.run_finished(run=run, step=run.length.steps)
    finally:
        run.progress.close()


def _step(run: Run, window: Window, examples: Sequence[Examples | None]) -> None:
    """Take one optimizer step."""
    loss, ids = train_window(run, window, examples)
    applied = run.updates.apply(loss)
    largest_norm = run.config[NetworkOptions].scale_weight_norms
    if largest_norm:
        run.network.limit_norms(largest_norm)
    run.schedule.step()
    run.history.push(window.step, loss, applied.bad)
    run.hook.step_done(run=run, step=window.step, loss=loss, grad_norm=applied.grad_norm, ids=ids)
    if window.ends_epoch:
        run.hook.epoch_done(run=run, epoch=window.epoch + 1, step=window.step)


def train_window(run: Run, window: Window, several: Sequence[Examples | None]) -> tuple[Tensor, tuple[str, ...]]:
    """Add up the gradients of one optimizer step; return its mean loss over all samples, and their names."""
    total = torch.zeros((), device=run.processes.device)
    ids: tuple[str, ...] = ()
    for micro, examples in enumerate(several):
        if examples is None:
            continue
        run.forward.seed_model(window.step, micro)
        run.network.scale_outputs(examples.network_multiplier)
        run.network.draw_masks(run.forward.adapter_rng(examples))
        loss = run.forward.loss(examples) / window.samples
        run.updates.backward(loss)
        total += loss.detach()
        ids += examples.ids
    run.network.scale_outputs(1.0)
    return run.processes.sum(total), ids
