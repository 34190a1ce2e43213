"""Runs whose denoiser is sharded: each of its forward passes gathers weights, so that all processes go through it."""

from __future__ import annotations

from collections.abc import Sequence

from loracore.config.dataset_spec import DatasetSpec
from loracore.data.sampler import MicroBatch, share
from loracore.errors import ConfigError
from loracore.training.processes import Processes
from loracore.training.steps.step import PRESERVING


def check_in_step(processes: Processes, datasets: Sequence[DatasetSpec]) -> None:
    """Raise ConfigError for data that some processes would run the denoiser for more often than others."""
    subsets = (subset for dataset in datasets for subset in dataset.subsets)
    if processes.in_step and any(subset.custom_attributes.get(PRESERVING) is True for subset in subsets):
        message = f"custom_attributes: {PRESERVING} runs the denoiser twice for some batches, which FSDP does not allow"
        raise ConfigError(message, where="accelerate launch", fix="leave out one of the two")


def sharding_notes(processes: Processes, *, asked: bool) -> Sequence[str]:
    """Return what is said of FSDP."""
    if not asked:
        return ()
    if not processes.in_step:
        return ("FSDP is without effect: a single process has nothing to share",)
    where = " in host memory" if processes.sharding is not None and processes.sharding.on_host else ""
    return (f"FSDP: the frozen weights of the denoiser's blocks are shared by {processes.count} processes{where}",)


def own_part(batch: MicroBatch, processes: Processes) -> tuple[MicroBatch, bool]:
    """Return a process's part of a global batch, and whether that only stands in, for no sample of its own.

    It does where a batch has fewer samples than processes and nobody may leave the denoiser out.
    """
    own = share(batch, processes.index, processes.count)
    if own.rows or not processes.in_step:
        return own, False
    return share(batch, 0, len(batch.rows)), True
