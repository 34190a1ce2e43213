"""The sizes of pictures that a denoiser can take; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loracore.config.dataset_spec import DatasetSpec
from loracore.errors import DataError, Problem


def check_sizes(datasets: Sequence[DatasetSpec], step: int) -> None:
    """Raise DataError for every data set whose pictures, in buckets or not, are no multiples of ``step`` pixels."""
    problems = [problem for number, dataset in enumerate(datasets, 1) for problem in _problems(number, dataset, step)]
    if problems:
        raise DataError.of(problems)


def _problems(number: int, dataset: DatasetSpec, step: int) -> Iterator[Problem]:
    name = f"data set {number}" + "".join(f" ({subset.source})" for subset in dataset.subsets[:1])
    place = dataset.subsets[0].place if dataset.subsets else ""
    if dataset.enable_bucket and dataset.bucket_reso_steps % step:
        message = (
            f"{name}: bucket_reso_steps is {dataset.bucket_reso_steps}, but this model needs multiples of {step} pixels"
        )
        yield Problem(message, place, f"use {step} or {2 * step}")
    elif not dataset.enable_bucket and any(side % step for side in dataset.resolution):
        width, height = dataset.resolution
        message = f"{name}: the resolution is {width}x{height}, but this model needs multiples of {step} pixels"
        fitting = ",".join(str(max(step, side - side % step)) for side in dataset.resolution)
        yield Problem(message, place, f'use "{fitting}", or enable_bucket')
