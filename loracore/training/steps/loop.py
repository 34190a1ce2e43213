"""The only training loop."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from loracore.config.options import NetworkOptions
from loracore.data.loader import Loader, ahead
from loracore.data.sampler import MicroBatch
from loracore.training.in_step import own_part
from loracore.training.processes import loader_threads
from loracore.training.run import Run
from loracore.training.steps.control import Agreement
from loracore.training.steps.ending import Place, end, rescue, tell_speed
from loracore.training.steps.history import LAG, TakenStep
from loracore.training.steps.length import Window
from loracore.training.telling.environment import started_values
from loracore.training.updates.fused_updates import FusedUpdates
from loracore.training.updates.optimizers import adapted_rates
from loracore.training.watchdogs.out_of_memory import explaining
from loracore.types import Examples


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """One process's part of a micro-batch, waiting to be loaded or loaded."""

    window: Window
    number: int  # of the micro-batch in its window
    batch: MicroBatch
    stands_in: bool  # no sample is this process's: another's is computed, and counts nothing
    examples: Examples | None = None


def loaded_windows(run: Run) -> Generator[tuple[Window, Sequence[Examples | None]], None, None]:
    """Give every optimizer step with this process's examples, loaded ahead; None where it has no sample of a batch."""
    parts = (
        _Part(window, number, *own_part(batch, run.processes))
        for window in run.steps.course.windows(run.start.taken)
        for number, batch in enumerate(window.batches)
    )
    several: list[Examples | None] = []
    cached = run.steps.loader.latents is not None
    threads, may_begin = loader_threads(run.config, cached=cached), run.steps.loading if cached else None
    for part in ahead(partial(_loaded, run.steps.loader), parts, threads, may_begin):
        several.append(part.examples)
        if len(several) == len(part.window.batches):
            yield part.window, several
            several = []


def _loaded(loader: Loader, part: _Part) -> _Part:
    if not part.batch.rows:  # fewer samples than processes
        return part
    examples = loader.examples(part.batch, part.window.epoch, part.window.step - 1)
    if part.stands_in:
        examples = replace(examples, ids=(), loss_weights=(0.0,) * len(part.batch.rows))
    return replace(part, examples=examples)


def train_loop(run: Run) -> None:
    """Take every step, and tell the plugins.

    The first SIGINT, SIGTERM or SIGHUP ends it behind a step, network and state saved: Interrupted. What an error
    would lose is saved before it goes on. Raises LoracoreError when no step at all could be applied: there is nothing
    worth saving then.
    """
    place = Place(run.start.taken)
    try:
        with run.control.listening():
            run.tell(
                "started", run.start.taken, **started_values(run)
            )  # before all others: previews of the start are others
            run.hook.run_started(run=run)
            with explaining(run.config, "training"):
                _take_steps(run, place)
            run.settle()
            end(run, place)
    except Exception as error:
        rescue(run, place, error)
        raise
    finally:
        run.outlets.progress.close()
        run.outlets.log.close()
        run.results.writer.close()


def _take_steps(run: Run, place: Place) -> None:
    """Take the steps that are left, until the last or until somebody asks for a stop."""
    processes = run.processes
    lag = 0 if processes.device.type == "cpu" else LAG
    agreement = Agreement(run.control, processes.device, processes.count, lag)
    with closing(loaded_windows(run)) as windows:
        for window, examples in windows:
            wishes = _step(run, place, window, examples, agreement.wishes())
            if agreement.stops(wishes):
                return


def _step(run: Run, place: Place, window: Window, examples: Sequence[Examples | None], wishes: Tensor) -> Tensor:
    """Take one optimizer step and tell of it; return the wishes of all processes, added up."""
    taken, summed = take_step(run, place, window, examples, wishes)
    tell_speed(run, window.step)
    run.tell_steps(run.steps.history.push(taken))
    run.hook.step_done(run=run, step=window.step, loss=taken.loss, grad_norm=taken.grad_norm, ids=taken.ids)
    if window.ends_epoch:
        run.settle()
        run.tell("epoch", window.step, epoch=window.epoch + 1, average=run.steps.history.average)
        run.hook.epoch_done(run=run, epoch=window.epoch + 1, step=window.step)
    return summed


def take_step(
    run: Run, place: Place, window: Window, examples: Sequence[Examples | None], wishes: Tensor
) -> tuple[TakenStep, Tensor]:
    """Ask the device for one optimizer step, waiting for nothing; return it and the ``wishes`` of all processes.

    These are added up. ``place`` follows.
    """
    trained = train_window(run, place, window, examples, wishes)
    place.moves = True
    applied = run.moving.updates.apply(trained.loss)
    largest_norm = run.config[NetworkOptions].scale_weight_norms
    norms = run.network.limit_norms(largest_norm) if largest_norm else None
    if run.moving.ema is not None:
        run.moving.ema.update(applied.bad)
    rates, adapted = run.moving.schedule.rates(), adapted_rates(run.moving.optimizer)  # of this step
    run.moving.schedule.step()
    place.step, place.moves = window.step, False
    taken = TakenStep(
        step=window.step,
        epoch=window.epoch + 1,
        ids=trained.ids,
        loss=trained.loss,
        grad_norm=applied.grad_norm,
        bad=applied.bad,
        sample_losses=trained.sample_losses,
        rates=rates,
        adapted_rates=adapted,
        norms=norms,
    )
    return taken, trained.wishes


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """What the gradients of one optimizer step were made from."""

    loss: Tensor  # scalar: the mean over the samples of all processes
    ids: tuple[str, ...]  # of this process's samples
    sample_losses: Tensor  # one for each of ids, detached
    wishes: Tensor  # of all processes, added up


def train_window(run: Run, place: Place, window: Window, several: Sequence[Examples | None], wishes: Tensor) -> Trained:
    """Add up the gradients of one optimizer step; ``wishes`` are added up over the processes beside its loss.

    ``place`` is told before a backward pass that moves the network: what fails in the forward pass has changed nothing.
    """
    found = [torch.zeros(0, device=run.processes.device)]
    ids: tuple[str, ...] = ()
    for micro, examples in enumerate(several):
        if examples is None:
            continue
        run.steps.loading.clear()
        run.steps.forward.seed_model(window.step, micro)
        run.network.scale_outputs(examples.network_multiplier)
        run.network.draw_masks(run.steps.forward.adapter_rng(examples))
        fused = isinstance(run.moving.updates, FusedUpdates)
        # which has all gradients alive at once; recorded passes prepare for themselves
        apart = fused or run.steps.speed.records
        prepared = nullcontext() if apart else run.network.prepared()
        with run.steps.speed.attention.chosen(), prepared:
            losses = run.steps.speed.attention.tried(partial(run.steps.forward.losses, examples))
            place.moves = fused
            run.steps.loading.set()
            run.moving.updates.backward(losses.sum() / window.samples)
        found.append(losses.detach()[: len(examples.ids)])  # none of one that stands in
        ids += examples.ids
    run.network.scale_outputs(1.0)
    losses = torch.cat(found)
    summed = run.processes.sum(torch.cat([(losses.sum() / window.samples).reshape(1), wishes]))
    return Trained(summed[0], ids, losses, summed[1:])
