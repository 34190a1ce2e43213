"""The sizes of pictures that a denoiser can take; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from loracore.config.config import Config, Finding
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.prompts.prompt import SIDE_STEP
from loracore.diffusion.pictures.preview_findings import sound_prompts
from loracore.types import Drawing


def size_findings(config: Config, step: int, previews: int = SIDE_STEP) -> Iterator[Finding]:
    """Give every data set whose pictures, in buckets or not, are no multiples of ``step`` pixels.

    Nothing of them before the data sets are read. Previews are drawn in multiples of ``previews`` pixels.
    """
    yield from _preview_findings(config, previews)
    for number, dataset in enumerate(config.datasets, 1):
        yield from _findings(number, dataset, step)


def floored_size(size: tuple[int, int], step: int) -> tuple[int, int]:
    """Return the multiples of ``step`` pixels at or below width and height."""
    width, height = size
    return width - width % step, height - height % step


def floored(drawing: Drawing, step: int) -> Drawing:
    """Return the drawing with its sides at multiples of ``step`` pixels."""
    return replace(drawing, size=floored_size(drawing.size, step))


def _preview_findings(config: Config, step: int) -> Iterator[Finding]:
    """Give prompts whose pictures become smaller."""
    for one in sound_prompts(config):
        width, height = floored_size((one.width, one.height), step)
        if (width, height) != (one.width, one.height):
            message = f"the preview's {one.width}x{one.height} becomes {width}x{height}"
            reason = f"this model draws in multiples of {step} pixels"
            yield Finding("without effect", "sample_prompts", f"{message}: {reason}", where=one.where)


def _findings(number: int, dataset: DatasetSpec, step: int) -> Iterator[Finding]:
    name = f"data set {number}" + "".join(f" ({subset.source})" for subset in dataset.subsets[:1])
    place = dataset.subsets[0].place if dataset.subsets else ""
    if dataset.enable_bucket and dataset.bucket_reso_steps % step:
        message = (
            f"{name}: bucket_reso_steps is {dataset.bucket_reso_steps}, but this model needs multiples of {step} pixels"
        )
        yield Finding("wrong", "bucket_reso_steps", message, f"use {step} or {2 * step}", place)
    elif not dataset.enable_bucket and any(side % step for side in dataset.resolution):
        width, height = dataset.resolution
        message = f"{name}: the resolution is {width}x{height}, but this model needs multiples of {step} pixels"
        fitting = ",".join(str(max(step, side - side % step)) for side in dataset.resolution)
        yield Finding("wrong", "resolution", message, f'use "{fitting}", or enable_bucket', place)
