"""Which samples make each batch of an epoch, from (seed, epoch) alone."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loracore.data.buckets import Size
    from loracore.data.picture import Index


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One batch: which pictures, and which places they have among all samples of the epoch."""

    rows: tuple[int, ...]  # into Index.pictures
    positions: tuple[int, ...]  # in the epoch's global order; randomness is drawn from them


def epoch_batches(
    index: Index, batch_sizes: Sequence[int], seed: int, epoch: int, processes: int = 1
) -> list[MicroBatch]:
    """Return the global batches of an epoch, every picture ``repeats`` times, in an order of (seed, epoch) alone.

    A batch comes from one bucket of one data set and holds at most ``batch_sizes[dataset] * processes`` samples; the
    last of a bucket may be shorter, nothing is dropped. ``epoch`` counts from 0.
    """
    rng = random.Random(f"{seed}/order/{epoch}")  # noqa: S311  # an order, not a secret
    chunks: list[list[int]] = []
    for (dataset, _), rows in _buckets(index).items():
        rng.shuffle(rows)
        length = batch_sizes[dataset] * processes
        chunks += [rows[start : start + length] for start in range(0, len(rows), length)]
    rng.shuffle(chunks)
    batches: list[MicroBatch] = []
    position = 0
    for chunk in chunks:
        batches.append(MicroBatch(tuple(chunk), tuple(range(position, position + len(chunk)))))
        position += len(chunk)
    return batches


def batches_per_epoch(index: Index, batch_sizes: Sequence[int], processes: int = 1) -> int:
    """Return how many global batches ``epoch_batches`` gives, whatever the seed."""
    samples: dict[tuple[int, Size], int] = defaultdict(int)
    for picture in index.pictures:
        samples[picture.dataset, picture.framing.size] += picture.repeats
    return sum(-(-count // (batch_sizes[dataset] * processes)) for (dataset, _), count in samples.items())


def share(batch: MicroBatch, process: int, processes: int) -> MicroBatch:
    """Return one process's part of a global batch: neighbours, shares differing by one at most.

    A batch shorter than the number of processes leaves some parts empty.
    """
    start, stop = (len(batch.rows) * place // processes for place in (process, process + 1))
    return MicroBatch(batch.rows[start:stop], batch.positions[start:stop])


def _buckets(index: Index) -> Mapping[tuple[int, Size], list[int]]:
    """Return the rows of every bucket of every data set, each as often as it is repeated, in a fixed order."""
    found: dict[tuple[int, Size], list[int]] = defaultdict(list)
    for row, picture in enumerate(index.pictures):
        found[picture.dataset, picture.framing.size].extend([row] * picture.repeats)
    return dict(sorted(found.items()))
