"""The loss on the held-out pictures at fixed timesteps, with everything else left as it was."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
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
from loracore.training.step import Forward
from loracore.training.validation.held_out import VISIT, HeldOut, fixed_timesteps
from loracore.types import Examples


@dataclass(frozen=True, slots=True)
class Measured:
    """What one validation came to; the same in every process."""

    loss: float  # mean over pictures and timesteps; nan where one is not finite
    bands: Mapping[int, float]  # by timestep: mean over pictures
    images: int


def measure(run: Run, held_out: HeldOut) -> Measured:
    """Return the training loss of the held-out pictures at each of the fixed timesteps, without dropouts.

    Every process looks at its share of each batch. Neither the network nor any random generator is changed by it.
    """
    timesteps = fixed_timesteps(run.config[TrainingOptions])
    with torch.no_grad(), undisturbed(run), run.weights_to_read():
        found = [torch.zeros(len(timesteps)), *_sums(run, held_out, timesteps)]
    total = torch.stack([one.cpu().double() for one in found]).sum(dim=0)
    if run.processes.count > 1:
        total = run.processes.sum(total.to(run.processes.device))
    means = (total / held_out.images).tolist()
    loss = math.fsum(means) / len(means) if all(map(math.isfinite, means)) else math.nan
    return Measured(loss, dict(zip(timesteps, means, strict=True)), held_out.images)


def _sums(run: Run, held_out: HeldOut, timesteps: list[int]) -> Iterator[Tensor]:
    """Give this process's losses of each batch, summed by timestep (T), on the device; nobody waits for them."""
    forward = replace(run.forward, seed=held_out.seed)
    total = len(held_out.batches) * len(timesteps)
    shown = run.processes.main and run.config[LoggingOptions].shows_bars
    bar: tqdm[Any]
    with tqdm(total=total, desc="validation", unit="forward", leave=False, disable=not shown) as bar:
        for number, examples in enumerate(_examples(run, held_out)):
            if examples is not None:
                run.network.scale_outputs(examples.network_multiplier)
                yield torch.stack([_loss(forward, examples, number, timestep) for timestep in timesteps])
            bar.update(len(timesteps))


def _loss(forward: Forward, examples: Examples, number: int, timestep: int) -> Tensor:
    """Return the summed losses of a batch at one timestep (scalar, float32)."""
    torch.manual_seed(derive_seed(forward.seed, "validation/model", number, timestep))
    return forward.validation_losses(examples, timestep).sum().float()


def _examples(run: Run, held_out: HeldOut) -> Iterator[Examples | None]:
    """Give this process's part of every batch, loaded ahead; None where a batch has fewer samples than processes."""
    parts = (share(batch, run.processes.index, run.processes.count) for batch in held_out.batches)
    threads = loader_threads(run.config)
    if held_out.loader.latents is not None:
        threads = min(threads, 1)  # enough to copy what is cached
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
