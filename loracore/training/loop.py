"""The only training loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from loracore.config.options import NetworkOptions, TrainingOptions
from loracore.data.sampler import epoch_batches, share
from loracore.errors import LoracoreError
from loracore.training.length import Window, windows
from loracore.training.optimizers import step_unless_bad
from loracore.training.run import Run


def run_windows(run: Run) -> Iterator[Window]:
    """Give every optimizer step of the run, epoch by epoch, in an order that (seed, epoch) decide alone."""
    accumulation = run.config[TrainingOptions].gradient_accumulation_steps
    for epoch in range(run.length.epochs):
        batches = epoch_batches(run.loader.index, run.batch_sizes, run.seed, epoch, run.processes.count)
        yield from windows(epoch, batches, accumulation, run.length)


def train_loop(run: Run) -> None:
    """Take every step, and tell the plugins.

    Raises LoracoreError when no step at all could be applied: there is nothing worth saving then.
    """
    try:
        run.hook.run_started(run=run)
        for window in run_windows(run):
            _step(run, window)
        run.history.settle()
        if run.history.skipped == run.length.steps:
            message = "no step could be applied: every loss or gradient was not finite"
            raise LoracoreError(message, fix="check the base model, or use mixed_precision bf16")
        run.network.clear_masks()
        run.hook.run_finished(run=run, step=run.length.steps)
    finally:
        run.progress.close()


def _step(run: Run, window: Window) -> None:
    """Take one optimizer step."""
    loss, ids = train_window(run, window)
    grad_norm = run.gradients.reduce_and_clip()
    bad = (~torch.isfinite(grad_norm + loss)).float()
    step_unless_bad(run.optimizer, bad)
    if run.gradients.scale is not None:
        run.gradients.scale.update(bad)
    largest_norm = run.config[NetworkOptions].scale_weight_norms
    if largest_norm:
        run.network.limit_norms(largest_norm)
    run.schedule.step()
    run.gradients.zero()
    run.history.push(window.step, loss, bad)
    run.hook.step_done(run=run, step=window.step, loss=loss, grad_norm=grad_norm, ids=ids)
    if window.ends_epoch:
        run.hook.epoch_done(run=run, epoch=window.epoch + 1, step=window.step)


def train_window(run: Run, window: Window) -> tuple[Tensor, tuple[str, ...]]:
    """Add up the gradients of one optimizer step; return its mean loss over all samples, and their names."""
    total = torch.zeros((), device=run.processes.device)
    ids: tuple[str, ...] = ()
    for micro, batch in enumerate(window.batches):
        own = share(batch, run.processes.index, run.processes.count)
        if not own.rows:  # fewer samples than processes
            continue
        examples = run.loader.examples(own, window.epoch)
        run.forward.seed_model(window.step, micro)
        run.network.draw_masks(run.forward.adapter_rng(examples))
        loss = run.forward.loss(examples) / window.samples
        (run.gradients.scale.scaled(loss) if run.gradients.scale else loss).backward()  # type: ignore[no-untyped-call]  # torch's own
        total += loss.detach()
        ids += examples.ids
    return run.processes.sum(total), ids
