"""What a data set is once every value is looked up: sizes, batches, folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SubsetSpec:
    """One folder of pictures."""

    image_dir: Path  # as written: relative to the working directory
    num_repeats: int  # 1 or more
    caption_extension: str  # with its dot
    class_tokens: str | None  # the caption of pictures without one
    caption_prefix: str
    caption_suffix: str
    resize_interpolation: str | None  # None chooses by enlarging or shrinking
    place: str  # ``file:line`` or ``--option`` that names the folder


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Folders that share a resolution, buckets and batches."""

    resolution: tuple[int, int]  # width, height
    batch_size: int  # on each device
    enable_bucket: bool
    min_bucket_reso: int
    max_bucket_reso: int
    bucket_reso_steps: int
    bucket_no_upscale: bool
    subsets: tuple[SubsetSpec, ...]
    warnings: tuple[str, ...] = ()  # what was left out or adjusted

    @property
    def bucket_bounds(self) -> tuple[int, int]:
        """Return the smallest and the largest side of a bucket, brought to whole steps."""
        return whole_bounds(self.min_bucket_reso, self.max_bucket_reso, self.bucket_reso_steps)


def whole_bounds(smallest: int, largest: int, steps: int) -> tuple[int, int]:
    """Return bounds in whole steps: the smaller rounded down, the larger up."""
    return smallest - smallest % steps, -(-largest // steps) * steps
