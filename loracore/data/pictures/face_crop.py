"""Cuts around a face whose place stands in the name of the file: ``name_cx_cy_w_h``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

from loracore.errors import DataError

if TYPE_CHECKING:
    import random

    from loracore.config.dataset_spec import Augmentations
    from loracore.types import Framing

_PARTS = 4  # centre x, centre y, width, height
_SMALLEST_MOVED = 40  # pixels of the file; smaller faces stay in the middle


@dataclass(frozen=True, slots=True)
class Face:
    """Where a face is, in pixels of the file as it is seen upright."""

    centre: tuple[int, int]
    size: int  # the larger of width and height


def face_of(stem: str, where: str = "") -> Face | None:
    """Return the face of a file name without extension, or None when it names none.

    A name has a face when at least five parts are joined by ``_`` and the last four are whole numbers, the first of
    them above 0. Raises DataError, placed at ``where`` or the name, when these have no size above 0. (The field stops
    at names of which only some of the four are numbers.)
    """
    found = _numbers(stem)
    if len(found) < _PARTS or found[0] <= 0:  # 0: how the field's face detection marks that it found none
        return None
    if max(found[2:]) <= 0:
        end = "_".join(stem.split("_")[-_PARTS:])
        message = f"{end!r} at the end of the name is not the place of a face"
        fix = "end it with _x_y_width_height in pixels, or in no number, or leave out face_crop_aug_range"
        raise DataError(message, where=where or stem, fix=fix)
    return Face((found[0], found[1]), max(found[2:]))


def half_names_face(stem: str) -> bool:
    """Tell whether only some of the four parts that could tell a face are numbers: a date, or a slip of the pen."""
    return 0 < len(_numbers(stem)) < _PARTS


def frame_face(framing: Framing, face: Face, augmentations: Augmentations, rng: random.Random) -> Framing:
    """Return the framing that shows a face at a random scale, near the middle of the cut.

    Without ``random_crop`` the face strays from the middle by up to a twentieth of its size, with it by up to the
    distance to the farther edge, mostly less. Draws: the scale, then what x needs, then what y needs.
    """
    scale = _scale(framing, face, augmentations, rng)
    resized = (floor(framing.original[0] * scale + 0.5), floor(framing.original[1] * scale + 0.5))
    starts = []
    for length, target, place in zip(resized, framing.size, face.centre, strict=True):
        centre = floor(place * scale + 0.5)
        start = centre - target // 2 + _stray(framing, face, augmentations, max(centre, length - centre), rng)
        starts.append(max(0, min(start, length - target)))
    return replace(framing, resized=resized, crop=(starts[0], starts[1]))


def _numbers(stem: str) -> list[int]:
    """Return the whole numbers among the last four parts of a name that has a fifth."""
    if stem.count("_") < _PARTS:
        return []
    found = (_whole(part) for part in stem.split("_")[-_PARTS:])
    return [number for number in found if number is not None]


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _scale(framing: Framing, face: Face, augmentations: Augmentations, rng: random.Random) -> float:
    """Draw the scale at which the cut's shorter side is ``face_crop_aug_range`` times the face.

    It covers the whole cut and, as far as that allows, does not enlarge the picture. (The field never enlarges, and
    stops at pictures smaller than the cut.)
    """
    assert augmentations.face_crop_aug_range is not None
    nearest, farthest = augmentations.face_crop_aug_range
    shorter = min(framing.size)
    cover = max(framing.size[0] / framing.original[0], framing.size[1] / framing.original[1])
    smallest = max(cover, min(1, shorter / (face.size * farthest)))
    largest = max(cover, min(1, shorter / (face.size * nearest)))
    return rng.uniform(smallest, largest)


def _stray(framing: Framing, face: Face, augmentations: Augmentations, reach: int, rng: random.Random) -> int:
    """Draw how far the cut is moved off the face's middle on one axis; the numbers are the field's."""
    if augmentations.random_crop:
        return rng.randint(0, reach) + rng.randint(0, reach) - reach
    assert augmentations.face_crop_aug_range is not None
    nearest, farthest = augmentations.face_crop_aug_range
    if nearest == farthest or face.size <= min(framing.size) // 10 or face.size < _SMALLEST_MOVED:
        return 0
    return rng.randint(-(face.size // 20), face.size // 20)
