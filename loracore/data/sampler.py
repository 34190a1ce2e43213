"""Which samples make each batch of an epoch, from (seed, epoch) alone, and any batch of it without the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loracore.data.index import Index

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One batch: which pictures, and which places they have among all samples of the epoch."""

    rows: tuple[int, ...]  # of the index
    positions: tuple[int, ...]  # in the epoch's global order; randomness is drawn from them
    turns: tuple[int, ...]  # 0-based: which of the picture's repeats in this epoch


@dataclass(frozen=True, eq=False, slots=True)
class EpochOrder:
    """The global batches of one epoch as columns; batch N costs no more than the first."""

    rows: NDArray[np.int64]  # every sample in the epoch's order
    turns: NDArray[np.int64]
    starts: NDArray[np.int64]  # of every batch among the samples, and their end

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> MicroBatch:
        if not 0 <= number < len(self):
            message = f"the epoch has {len(self)} batches, not {number + 1}"
            raise IndexError(message)
        start, stop = int(self.starts[number]), int(self.starts[number + 1])
        rows, turns = self.rows[start:stop].tolist(), self.turns[start:stop].tolist()
        return MicroBatch(tuple(rows), tuple(range(start, stop)), tuple(turns))

    def __iter__(self) -> Iterator[MicroBatch]:
        return (self[number] for number in range(len(self)))


def epoch_order(index: Index, batch_sizes: Sequence[int], seed: int, epoch: int, processes: int = 1) -> EpochOrder:
    """Return the global batches of an epoch, every picture ``repeats`` times, in an order of (seed, epoch) alone.

    A batch comes from one bucket of one data set and holds at most ``batch_sizes[dataset] * processes`` samples; the
    last of a bucket may be shorter, nothing is dropped. ``epoch`` counts from 0. Samples are sorted by a hash, so that
    the order is the same on every machine and with every version of numpy.
    """
    repeats = index.repeats.astype(np.int64)  # numpy makes floats of the difference of signed and unsigned numbers
    rows = np.repeat(np.arange(len(index)), repeats)
    turns = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    groups = index.buckets[rows].astype(np.int64)
    mixed = _hashed(_seed(seed, epoch, "samples"), _hashed(rows.astype(np.uint64)) + turns.astype(np.uint64))
    order = np.lexsort((mixed, groups))
    starts = _starts(index, groups[order], batch_sizes, processes)
    shuffled = np.argsort(_hashed(_seed(seed, epoch, "batches"), np.arange(len(starts) - 1, dtype=np.uint64)))
    lengths = np.diff(starts)[shuffled]
    ends = np.cumsum(lengths)
    samples = order[np.arange(len(rows)) + np.repeat(starts[:-1][shuffled] - (ends - lengths), lengths)]
    return EpochOrder(rows[samples], turns[samples], np.concatenate([[0], ends]))


def batches_per_epoch(index: Index, batch_sizes: Sequence[int], processes: int = 1) -> int:
    """Return how many global batches ``epoch_order`` gives, whatever the seed."""
    counts = np.bincount(index.buckets, weights=index.repeats, minlength=len(index.bucket_list)).astype(np.int64)
    longest = _longest(index, batch_sizes, processes)
    return int((-(-counts // longest)).sum())


def share(batch: MicroBatch, process: int, processes: int) -> MicroBatch:
    """Return one process's part of a global batch: neighbours, shares differing by one at most.

    A batch shorter than the number of processes leaves some parts empty.
    """
    start, stop = (len(batch.rows) * place // processes for place in (process, process + 1))
    return MicroBatch(batch.rows[start:stop], batch.positions[start:stop], batch.turns[start:stop])


def _starts(index: Index, groups: NDArray[np.int64], batch_sizes: Sequence[int], processes: int) -> NDArray[np.int64]:
    """Return where batches start among samples that are sorted by bucket, and the end of the last."""
    counts = np.bincount(groups, minlength=len(index.bucket_list))
    longest = _longest(index, batch_sizes, processes)
    first = np.cumsum(counts) - counts
    batches = -(-counts // longest)
    bucket = np.repeat(np.arange(len(counts)), batches)
    number = np.arange(len(bucket)) - np.repeat(np.cumsum(batches) - batches, batches)
    return np.append(first[bucket] + number * longest[bucket], len(groups)).astype(np.int64)


def _longest(index: Index, batch_sizes: Sequence[int], processes: int) -> NDArray[np.int64]:
    """Return the largest batch of every bucket."""
    return np.array([batch_sizes[dataset] * processes for dataset, _ in index.bucket_list], dtype=np.int64)


def _seed(*parts: int | str) -> _Hashes:
    digest = hashlib.blake2b("/".join(map(str, parts)).encode("utf-8"), digest_size=8).digest()
    return np.frombuffer(digest, dtype=np.uint64)


def _hashed(*parts: _Hashes) -> _Hashes:
    """Return a 64-bit hash of each row of the summed parts (the finaliser of SplitMix64: Steele et al. 2014)."""
    mixed = np.zeros(1, dtype=np.uint64)
    for part in parts:
        mixed = (mixed + part) * np.uint64(0x9E3779B97F4A7C15)  # wraps, as it should
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed
