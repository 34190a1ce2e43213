"""Which size a picture is trained at, and how it is brought there: pure arithmetic, sizes are (width, height)."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loracore.data.framings import Framings, Pairs, central
from loracore.types import Framing

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec

Size = tuple[int, int]
_Column = NDArray[np.int64]
_Lengths = NDArray[np.float64]

_AT_ONCE = 1 << 21  # comparisons of a picture with a bucket: 16 MB


@dataclass(frozen=True, slots=True)
class Buckets:
    """The training sizes of one data set.

    Without ``sizes`` the list is open-ended: pictures are never enlarged, and every size of whole steps may occur.
    """

    resolution: Size
    sizes: tuple[Size, ...]
    steps: int

    def framing(self, original: Size) -> Framing | None:
        """Return how a picture of this size is resized and cut, or None when a side is shorter than one step."""
        framings = self.framings(np.array([original], dtype=np.int64))
        return framings[0] if framings.fits[0] else None

    def framings(self, originals: Pairs) -> Framings:
        """Return how pictures of these sizes (n, 2) are resized and cut, all at once; sizes must be above 0."""
        if self.sizes:
            sizes = np.array(self.sizes, dtype=np.int64)[self._nearest(originals)]
            return central(originals, _cover(originals, sizes), sizes)
        resized = _shrink(originals, self.resolution, self.steps)
        return central(originals, resized, resized - resized % self.steps)

    def _nearest(self, originals: Pairs) -> _Column:
        """Return the bucket's number: the size itself where it is one, else the nearest ratio, the first of equals.

        Ratios are compared by their plain difference, as the field does, not by that of their logarithms.
        """
        sizes = np.array(self.sizes, dtype=np.int64)
        ratios = sizes[:, 0] / sizes[:, 1]
        found = np.empty(len(originals), dtype=np.int64)
        most = max(1, _AT_ONCE // len(sizes))
        for start in range(0, len(originals), most):
            some = originals[start : start + most]
            differences = np.abs(ratios - (some[:, 0] / some[:, 1])[:, None])
            differences[(some[:, None] == sizes).all(axis=2)] = -1
            found[start : start + most] = differences.argmin(axis=1)
        return found


def make_buckets(dataset: DatasetSpec) -> Buckets:
    """Return the buckets of a data set; without ``enable_bucket`` its resolution is the only one."""
    steps = dataset.bucket_reso_steps
    if not dataset.enable_bucket:
        return Buckets(dataset.resolution, (dataset.resolution,), steps)
    if dataset.bucket_no_upscale:
        return Buckets(dataset.resolution, (), steps)
    return Buckets(dataset.resolution, bucket_sizes(dataset.resolution, dataset.bucket_bounds, steps), steps)


def bucket_sizes(resolution: Size, bounds: tuple[int, int], steps: int) -> tuple[Size, ...]:
    """Return every bucket whose area is at most that of ``resolution``, sorted; sides are whole steps within bounds.

    ``bounds`` is the smallest and the largest side, both multiples of ``steps``.
    """
    area = resolution[0] * resolution[1]
    smallest, largest = bounds
    square = floor(sqrt(area) / steps) * steps
    sizes = {(square, square)}
    for width in range(max(smallest, steps), largest + 1, steps):
        height = min(largest, area // width // steps * steps)
        if height >= smallest:
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(size for size in sizes if 0 not in size))


def _cover(originals: Pairs, sizes: Pairs) -> Pairs:
    """Return the originals scaled, up or down, so that they just cover ``sizes``."""
    wider = originals[:, 0] / originals[:, 1] > sizes[:, 0] / sizes[:, 1]
    scale = np.where(wider, sizes[:, 1] / originals[:, 1], sizes[:, 0] / originals[:, 0])
    return _rounded(originals * np.asarray(scale, dtype=np.float64)[:, None])


def _shrink(originals: Pairs, resolution: Size, steps: int) -> Pairs:
    """Return the originals, scaled down where their area is above that of ``resolution``.

    One side becomes whole steps: of the two ways to do that, the one that keeps the aspect ratio better (the second
    when they are equal). (0, 0) stands for a picture too thin for a step.
    """
    area = resolution[0] * resolution[1]
    ratio = originals[:, 0] / originals[:, 1]
    width = np.sqrt(area * ratio)
    by_width, by_height = _steps(width, steps), _steps(area / width, steps)
    height_by_width, width_by_height = _steps(by_width / ratio, steps), _steps(by_height * ratio, steps)
    thin = (height_by_width == 0) | (by_height == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        first_is_nearer = np.abs(by_width / height_by_width - ratio) < np.abs(width_by_height / by_height - ratio)
    first = np.stack([by_width, _rounded(by_width / ratio)], axis=1)
    second = np.stack([_rounded(by_height * ratio), by_height], axis=1)
    shrunk = np.where(first_is_nearer[:, None], first, second)
    shrunk[thin] = 0
    small = originals.prod(axis=1) <= area
    return np.where(small[:, None], originals, shrunk)


def _rounded(lengths: NDArray[np.floating]) -> _Column:
    whole: _Column = np.floor(lengths + 0.5).astype(np.int64)
    return whole


def _steps(lengths: _Lengths, steps: int) -> _Column:
    """Return rounded lengths, brought down to whole steps."""
    rounded = _rounded(lengths)
    return rounded - rounded % steps
