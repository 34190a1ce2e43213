"""How much each pixel of a picture counts: its transparency, a picture of masks, or both multiplied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loracore.data.pictures.colour_modes import red_of
from loracore.data.pictures.image_files import decode, open_picture
from loracore.data.pictures.orientation import turn_of, turned
from loracore.data.pictures.resizing import frame
from loracore.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from loracore.data.pictures.picture import Picture
    from loracore.types import Framing

#: Averages where the mask shrinks, bilinear where it grows: no value leaves [0, 1], as with Lanczos it would.
_INTERPOLATION = "area"


def mask_of(picture: Picture, alpha: Image.Image | None, framing: Framing) -> NDArray[np.float32] | None:
    """Return how much each pixel counts (1,H,W in [0, 1]), or None when the subset has no masks.

    ``alpha`` is the picture's transparency (mode L, upright), None where it has none: then it counts as opaque. The
    masks get the picture's own resizing and cut (the field stretches mask pictures to the training size, so that they
    miss their pictures). Nothing is mirrored. Raises DataError when a mask picture is not as large as its picture.
    """
    masks = []
    if picture.subset.alpha_mask:
        masks.append(_ones(framing) if alpha is None else _weights(alpha, framing))
    if picture.mask is not None:
        masks.append(_weights(_painted(picture.mask, picture), framing))
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else masks[0] * masks[1]


def _weights(mask: Image.Image, framing: Framing) -> NDArray[np.float32]:
    cut = np.asarray(frame(mask, framing, _INTERPOLATION)).astype(np.float32)
    cut /= 255
    return cut[None]


def _ones(framing: Framing) -> NDArray[np.float32]:
    width, height = framing.size
    return np.ones((1, height, width), dtype=np.float32)


def _painted(path: Path, picture: Picture) -> Image.Image:
    """Return a mask picture's red channel (grey's own), upright."""
    with open_picture(path) as image:
        turn = turn_of(image)
        decode(image)
        mask = turned(red_of(image), turn)
    original = picture.framing.original
    if mask.size != original:
        sizes = f"{mask.width}x{mask.height}, but its picture {picture.path} is {original[0]}x{original[1]}"
        raise DataError(f"the mask is {sizes}", where=str(path), fix="give the mask the size of its picture")
    return mask
