"""The batch that needs most memory: the largest bucket, as full as a batch of it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loracore.config.config import Config
from loracore.config.dataset_keys import parse_resolution
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import DataOptions
from loracore.data.index import Index
from loracore.training.steps.step import PRESERVING

#: The field's training size of a model whose options name none.
_USUAL_SIZE = (1024, 1024)


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """One process's share of the batch that needs most."""

    size: tuple[int, int]  # width, height in pixels
    samples: int
    dataset: int | None = None  # from 0; None: there are no pictures yet, only options
    multiplier: float = 1.0  # of the adapters
    preserves: bool = False  # whether what the base model says is computed beside
    pictures: int | None = None  # that there are in all; None: not known


def largest_batch(index: Index, datasets: Sequence[DatasetSpec], processes: int) -> LargestBatch:
    """Return the batch with most pixels that an epoch has for one of so many processes."""
    counts = np.bincount(index.buckets, weights=index.repeats, minlength=len(index.bucket_list)).astype(np.int64)
    found = []
    for (dataset, size), count in zip(index.bucket_list, counts.tolist(), strict=True):
        if count:
            samples = -(-min(count, datasets[dataset].batch_size * processes) // processes)
            found.append((size[0] * size[1] * samples, size, samples, dataset))
    _, size, samples, dataset = max(found)
    spec = datasets[dataset]
    preserves = any(subset.custom_attributes.get(PRESERVING) is True for subset in spec.subsets)
    return LargestBatch(size, samples, dataset, spec.network_multiplier, preserves, len(index))


def batch_of_options(config: Config) -> LargestBatch:
    """Return the batch that options alone describe: ``train_batch_size`` pictures of ``resolution``, else of 1024²."""
    data = config[DataOptions]
    size = _USUAL_SIZE if data.resolution is None else parse_resolution(data.resolution)
    return LargestBatch(size, data.train_batch_size)
