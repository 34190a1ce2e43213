"""Which size a picture is trained at, and how it is brought there: pure arithmetic, sizes are (width, height)."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt
from typing import TYPE_CHECKING

from loracore.types import Framing

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Buckets:
    """The training sizes of one data set.

    Without ``sizes`` the list is open-ended: pictures are never enlarged, and every size of whole steps may occur.
    """

    resolution: Size
    sizes: tuple[Size, ...]
    steps: int

    def framing(self, original: Size) -> Framing | None:
        """Return how a picture of this size is resized and cut, or None when a side is shorter than one step.

        The cut is central: ``floor((resized - size) / 2)`` pixels are left away at the left and at the top.
        """
        if self.sizes:
            size = self._nearest(original)
            resized = _cover(original, size)
        else:
            resized = _shrink(original, self.resolution, self.steps)
            size = (_whole_steps(resized[0], self.steps), _whole_steps(resized[1], self.steps))
        if 0 in size:
            return None
        return Framing(original, resized, _central_cut(resized, size), size)

    def _nearest(self, original: Size) -> Size:
        """Return the size itself when it is a bucket, else the bucket of the nearest aspect ratio, the first of equals.

        Ratios are compared by their plain difference, as the field does, not by that of their logarithms.
        """
        if original in self.sizes:
            return original
        ratio = original[0] / original[1]
        return min(self.sizes, key=lambda size: abs(size[0] / size[1] - ratio))


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
    for width in range(smallest, largest + 1, steps):
        height = min(largest, area // width // steps * steps)
        if height >= smallest:
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def _cover(original: Size, size: Size) -> Size:
    """Return the original scaled, up or down, so that it just covers ``size``."""
    wider = original[0] / original[1] > size[0] / size[1]
    scale = size[1] / original[1] if wider else size[0] / original[0]
    return floor(original[0] * scale + 0.5), floor(original[1] * scale + 0.5)


def _shrink(original: Size, resolution: Size, steps: int) -> Size:
    """Return the original, scaled down when its area is above that of ``resolution``.

    One side becomes whole steps: of the two ways to do that, the one that keeps the aspect ratio better (the second
    when they are equal). (0, 0) stands for a picture too thin for a step.
    """
    area = resolution[0] * resolution[1]
    if original[0] * original[1] <= area:
        return original
    ratio = original[0] / original[1]
    width = sqrt(area * ratio)
    by_width = _rounded_steps(width, steps)
    height_by_width = _rounded_steps(by_width / ratio, steps)
    by_height = _rounded_steps(area / width, steps)
    width_by_height = _rounded_steps(by_height * ratio, steps)
    if 0 in {height_by_width, by_height}:
        return 0, 0
    if abs(by_width / height_by_width - ratio) < abs(width_by_height / by_height - ratio):
        return by_width, floor(by_width / ratio + 0.5)
    return floor(by_height * ratio + 0.5), by_height


def _rounded_steps(length: float, steps: int) -> int:
    return _whole_steps(floor(length + 0.5), steps)


def _whole_steps(length: int, steps: int) -> int:
    return length - length % steps


def _central_cut(resized: Size, size: Size) -> tuple[int, int]:
    return (resized[0] - size[0]) // 2, (resized[1] - size[1]) // 2
