"""The loss on the held-out pictures at fixed timesteps, with everything else left as it was."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from loracore.config.options import LoggingOptions, TrainingOptions
from loracore.data.loader import Loader, ahead
from loracore.data.sampler import MicroBatch, share
from loracore.noise.rng import derive_seed
from loracore.training.processes import loader_threads
from loracore.training.run import Run
from loracore.training.steps.step import Forward
from loracore.training.validation.held_out import VISIT, HeldOut, fixed_timesteps
from loracore.types import Examples


@dataclass(frozen=True, slots=True)
class Measured:
    """What one validation came to; the same in every process."""

    loss: float  # mean over pictures and timesteps; nan where one is not finite
    bands: Mapping[int, float]  # by timestep: mean over pictures
    images: int


def measure(run: Run, held_out: HeldOut) -> Measured | None:
    """Return the training loss of the held-out pictures at each of the fixed timesteps, without dropouts.

    Every process looks at its share of each batch; where they share the denoiser's weights, at all of it. Neither the
    network nor any random generator is changed by it. None: a signal has asked the run to stop meanwhile; several
    processes go on to the end, which they would have to agree upon otherwise.
    """
    timesteps = fixed_timesteps(run.config[TrainingOptions])
    attention = run.steps.speed.attention
    with torch.no_grad(), undisturbed(run), run.weights_to_read(), run.network.prepared(), attention.chosen():
        found = [torch.zeros(len(timesteps)), *_sums(run, held_out, timesteps)]
    if _given_up(run):
        return None
    total = torch.stack([one.cpu().double() for one in found]).sum(dim=0)
    if run.processes.in_step and not run.processes.main:
        total.zero_()  # all of them have measured everything
    if run.processes.count > 1:
        total = run.processes.sum(total.to(run.processes.device))
    means = (total / held_out.images).tolist()
    loss = math.fsum(means) / len(means) if all(map(math.isfinite, means)) else math.nan
    return Measured(loss, dict(zip(timesteps, means, strict=True)), held_out.images)


def _sums(run: Run, held_out: HeldOut, timesteps: list[int]) -> Iterator[Tensor]:
    """Give this process's losses of each batch, summed by timestep (T), on the device; nobody waits for them."""
    forward = replace(run.steps.forward, seed=held_out.seed)
    total = len(held_out.batches) * len(timesteps)
    shown = run.processes.main and run.config[LoggingOptions].shows_bars
    bar: tqdm[Any]
    with tqdm(total=total, desc="validation", unit="forward", leave=False, disable=not shown) as bar:
        for number, examples in enumerate(_examples(run, held_out)):
            if examples is not None:
                run.network.scale_outputs(examples.network_multiplier)
                yield run.steps.speed.attention.tried(partial(_losses, forward, examples, number, timesteps))
            bar.update(len(timesteps))
            if _given_up(run):
                return


def _given_up(run: Run) -> bool:
    return run.control.interrupted and run.processes.count == 1


def _losses(forward: Forward, examples: Examples, number: int, timesteps: Sequence[int]) -> Tensor:
    """Return the summed losses of a batch, encoded once, at each timestep (T), float32."""
    torch.manual_seed(derive_seed(forward.seed, "validation/model", number))
    prepared = forward.validation_batch(examples)
    found = []
    for timestep in timesteps:
        torch.manual_seed(derive_seed(forward.seed, "validation/model", number, timestep))
        found.append(forward.validation_losses(prepared, timestep).sum().float())
    return torch.stack(found)


def _examples(run: Run, held_out: HeldOut) -> Iterator[Examples | None]:
    """Give this process's part of every batch, loaded ahead; None where a batch has fewer samples than processes."""
    parts = (share(batch, *run.processes.part) for batch in held_out.batches)
    threads = loader_threads(run.config, cached=held_out.loader.latents is not None)
    return ahead(partial(_loaded, held_out.loader), parts, threads)


def _loaded(loader: Loader, batch: MicroBatch) -> Examples | None:
    return loader.examples(batch, VISIT.epoch, VISIT.step) if batch.rows else None


@contextmanager
def undisturbed(run: Run) -> Iterator[None]:
    """Let nothing be left out of the network, and put that and the global generators back afterwards."""
    device, python = run.processes.device, random.getstate()
    run.network.modules.eval()
    run.network.clear_masks()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        run.network.scale_outputs(1.0)
        run.network.modules.train()
