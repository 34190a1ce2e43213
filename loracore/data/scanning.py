"""One scan of the data sets: every picture framed, repeated or held out, or everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loracore.data.buckets import make_buckets
from loracore.data.framings import Framings, joined
from loracore.data.index import Index, Rows, bucket_numbers
from loracore.data.proving import broken_pictures, prove
from loracore.data.reading import Reading, ReadSource, read_source
from loracore.data.repeats import balanced_repeats
from loracore.data.scan_messages import be, counted, nothing_left, too_thin
from loracore.data.sources import Source
from loracore.data.splitting import Part, split
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec

#: Of an epoch; repeats are kept in 32 bits.
_MOST_SAMPLES = 2**31


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found."""

    training: Index
    validation: Index  # held out: no picture is in both


@dataclass(frozen=True, eq=False, slots=True)
class _Framed:
    """One source with the rows of its table that can be trained on."""

    source: Source
    rows: Rows  # of its table
    framing_rows: Rows  # of the index's framings, one for each row


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """What a scan found, whether or not one can train on it."""

    scanned: Scanned
    problems: tuple[Problem, ...]  # of folders, lists, captions and masks
    bad: tuple[Problem, ...]  # pictures that cannot be used, one each; they are not in the index


def scan(datasets: Sequence[DatasetSpec], reading: Reading, *, show: bool = False) -> Scanned:
    """Return every picture of the data sets; sizes are read from headers, pixels are not decoded.

    Raises DataError with all problems at once: folders that are missing or hold no picture, pictures whose header
    cannot be read or that are too thin for a bucket (with ``skip_bad`` they are left out, and said), captions that are
    no text, masks that are missing or of another size. Then the other pictures are decoded too, as far as they have
    not been seen to be whole, so that one error names all; ``show`` shows a bar meanwhile.
    """
    survey = survey_of(datasets, reading)
    problems = survey.problems if reading.skip_bad else (*survey.problems, *survey.bad)
    index, held = survey.scanned.training, survey.scanned.validation
    if problems and not reading.skip_bad:
        problems = (*problems, *_broken([index, held], reading, show=show))
    if not problems and not len(index):
        problems = (nothing_left(len(held)),)
    if problems:
        raise DataError.of(dict.fromkeys(problems))  # a folder in two data sets has its troubles once
    left_out = tuple(f"left out: {problem}" for problem in survey.bad)
    return Scanned(replace(index, warnings=(*index.warnings, *left_out)), held)


def _broken(indexes: Sequence[Index], reading: Reading, *, show: bool) -> list[Problem]:
    """Return what is said of the pictures that cannot be decoded."""
    proof = prove(indexes, reading.keep, show=show)
    return [problem for index in indexes for problem in broken_pictures(index, proof)]


def survey_of(datasets: Sequence[DatasetSpec], reading: Reading) -> Survey:
    """Return what can be used of the data sets, and everything that is wrong."""
    read = [
        read_source(reading, (row, column), subset)
        for row, dataset in enumerate(datasets)
        for column, subset in enumerate(dataset.subsets)
    ]
    warnings = [warning for dataset in datasets for warning in dataset.warnings]
    warnings += [warning for found in read for warning in found.warnings]
    framed, framings, thin = _frame(datasets, [found for found in read if found.source is not None])
    scanned = _split(datasets, framed, framings, reading.seed, tuple(warnings))
    problems = tuple(problem for found in read for problem in found.problems)
    return Survey(scanned, problems, (*(problem for found in read for problem in found.bad), *thin))


def _frame(
    datasets: Sequence[DatasetSpec], read: Sequence[ReadSource]
) -> tuple[list[_Framed], Framings, list[Problem]]:
    """Return the framing of every picture, and what is said of those that are thinner than a bucket step."""
    framed: list[_Framed] = []
    parts: list[Framings] = []
    thin: list[Problem] = []
    first = 0
    for found in read:
        source = found.source
        assert source is not None
        dataset = datasets[source.dataset]
        sizes = source.table.sizes[found.rows].astype(np.int64)
        distinct, inverse = np.unique(sizes[:, 0] << 32 | sizes[:, 1], return_inverse=True)
        framings = make_buckets(dataset).framings(np.stack([distinct >> 32, distinct & 0xFFFFFFFF], axis=1))
        fits = framings.fits[inverse]
        thin += [too_thin(source, int(row), dataset) for row in found.rows[~fits]]
        framed.append(_Framed(source, found.rows[fits], inverse[fits] + first))
        parts.append(framings)
        first += len(framings)
    return framed, joined(parts), thin


def _split(
    datasets: Sequence[DatasetSpec],
    framed: Sequence[_Framed],
    framings: Framings,
    seed: int,
    warnings: tuple[str, ...],
) -> Scanned:
    """Return the index of what is trained on, and that of what is held out."""
    parts = split([Part(one.source, one.rows) for one in framed], datasets, seed)
    training = [_some(one, mask) for one, mask in zip(framed, parts.trained, strict=True)]
    validation = [_some(one, mask) for one, mask in zip(framed, parts.held, strict=True)]
    repeats = _repeats(training)
    unused = [int((count == 0).sum()) for count in repeats]
    left = [_left(one, count) for one, count in zip(training, unused, strict=True) if count]
    used = [_some(one, count > 0) for one, count in zip(training, repeats, strict=True)]
    every = np.concatenate([np.empty(0, dtype=np.int64), *repeats])
    if every.sum() > _MOST_SAMPLES:
        message = f"an epoch would have {int(every.sum()):,} samples; {_MOST_SAMPLES:,} are the most"
        raise DataError(message, fix="lower num_repeats")
    index = _index(used, framings, every[every > 0], (*warnings, *parts.warnings, *left))
    held = _index(validation, framings, np.ones(sum(len(one.rows) for one in validation), dtype=np.int64), ())
    return Scanned(index, held)


def _left(one: _Framed, count: int) -> str:
    """Return what is said of regularisation pictures beyond the training samples."""
    pictures = counted(count, "regularisation picture")
    return (
        f"{one.source.subset.place}: {pictures} of {one.source.subset.source} {be(count)} not used: "
        "there are more of them than training samples"
    )


def _some(one: _Framed, mask: NDArray[np.bool_]) -> _Framed:
    return _Framed(one.source, one.rows[mask], one.framing_rows[mask])


def _repeats(framed: Sequence[_Framed]) -> list[NDArray[np.int64]]:
    """Return the repeats of every picture of every source; regularisation is balanced within its data set."""
    own = [np.full(len(one.rows), one.source.subset.num_repeats, dtype=np.int64) for one in framed]
    for dataset in {one.source.dataset for one in framed if one.source.subset.is_reg}:
        numbers = [number for number, one in enumerate(framed) if one.source.dataset == dataset]
        regular = [number for number in numbers if framed[number].source.subset.is_reg]
        target = sum(int(own[number].sum()) for number in numbers if number not in regular)
        balanced = balanced_repeats(np.concatenate([own[number] for number in regular]), target)
        for number, part in zip(regular, _cut(balanced, [len(own[number]) for number in regular]), strict=True):
            own[number] = part
    return own


def _cut(column: NDArray[np.int64], lengths: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    start = 0
    for length in lengths:
        yield column[start : start + length]
        start += length


def _index(
    framed: Sequence[_Framed], framings: Framings, repeats: NDArray[np.int64], warnings: tuple[str, ...]
) -> Index:
    """Return the columns; what is common to pictures of one size is worked out once a size, not once a picture."""
    datasets = np.zeros(len(framings), dtype=np.int64)  # every source has framings of its own
    for one in framed:
        datasets[one.framing_rows] = one.source.dataset
    bucket_list, numbers = bucket_numbers(datasets, framings.sizes)
    framing_rows = _joined([one.framing_rows for one in framed])
    lengths = [len(one.rows) for one in framed]
    return Index(
        sources=tuple(one.source for one in framed),
        framings=framings,
        bucket_list=bucket_list,
        source_rows=np.repeat(np.arange(len(framed), dtype=np.uint16), lengths),
        table_rows=_joined([one.rows for one in framed]),
        framing_rows=framing_rows,
        buckets=numbers.astype(np.uint16)[framing_rows],
        repeats=repeats.astype(np.uint32),
        warnings=warnings,
    )


def _joined(columns: Sequence[Rows]) -> NDArray[np.uint32]:
    return np.concatenate([np.empty(0, dtype=np.uint32), *(column.astype(np.uint32) for column in columns)])
