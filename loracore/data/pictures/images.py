"""Pictures from files: their sizes, whether they can be decoded, and their pixels as they are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from loracore.data.pictures.augmenting import draw_framing, recolour
from loracore.data.pictures.colour_modes import alpha_of, check_values, to_rgb
from loracore.data.pictures.image_files import decode, open_picture, readable_suffixes
from loracore.data.pictures.masks import mask_of
from loracore.data.pictures.orientation import turn_of, turned, upright_size
from loracore.data.pictures.resizing import frame
from loracore.errors import DataError

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from loracore.data.buckets import Size
    from loracore.data.pictures.picture import Picture
    from loracore.types import Framing

Value = TypeVar("Value", bound=np.generic)

__all__ = ["Pixels", "inspect", "load_pixels", "readable_suffixes"]


@dataclass(frozen=True, eq=False, slots=True)
class Pixels:
    """One picture as it is trained."""

    image: NDArray[np.float32]  # 3,H,W in [-1, 1]
    mask: NDArray[np.float32] | None  # 1,H,W in [0, 1]; None: every pixel counts fully
    framing: Framing  # as it was really resized, cut and mirrored; `crop` is that of the picture before mirroring


def inspect(path: Path) -> Size:
    """Return a picture's size (width, height) as it is seen, after proving that its pixels can be decoded.

    Every format is really decoded, JPEG at an eighth of its size: a PNG whose checksums fit may still hold no pixels.
    Raises DataError naming the file.
    """
    with open_picture(path) as image:
        size = upright_size(image)
        image.draft("RGB", (1, 1))  # an eighth of the size, for JPEG alone
        decode(image)
        check_values(image)
    return size


def load_pixels(picture: Picture, *, flipped: bool = False, rng: random.Random | None = None) -> Pixels:
    """Return a picture's pixels and mask: turned upright, as RGB, resized, cut and, where ``flipped``, mirrored.

    Without ``rng`` the cut is the picture's own framing and nothing is random; with it, the subset's augmentations are
    drawn: first the cut (see draw_framing), then colours (see recolour); only those that are on draw. Whether to
    mirror is the caller's draw. ``face_crop_aug_range`` must be off where there are buckets.

    Of an animation this is the first frame; transparency is dropped, not composited, as the field does. The mask is
    the transparency (``alpha_mask``), the red channel of ``picture.mask``, or both multiplied. Raises DataError when a
    file cannot be decoded, is not the one that was scanned, or when a mask has another size than its picture.
    """
    framing = replace(picture.framing if rng is None else draw_framing(picture, rng), flipped=flipped)
    colours, alpha = _upright(picture.path, alpha=picture.subset.alpha_mask)
    _refuse_changed(picture, colours.size)
    mask = mask_of(picture, alpha, framing)
    cut = np.asarray(frame(colours, framing, picture.subset.resize_interpolation)).transpose(2, 0, 1)
    image = _mirrored(cut, framing).astype(np.float32)
    image /= 255
    if rng is not None and picture.subset.augmentations.color_aug:
        image = recolour(image, rng)
    image *= 2
    image -= 1
    return Pixels(image, None if mask is None else _mirrored(mask, framing), framing)


def _upright(path: Path, *, alpha: bool) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture's colours and, if asked for and there is any, its transparency (255 is opaque); both upright."""
    with open_picture(path) as image:
        turn = turn_of(image)  # first: decoding may drop what says so
        decode(image)
        colours = to_rgb(image)
        opacity = alpha_of(image) if alpha else None
    return turned(colours, turn), None if opacity is None else turned(opacity, turn)


def _mirrored(pixels: NDArray[Value], framing: Framing) -> NDArray[Value]:
    """Return C,H,W, mirrored left to right where the framing says so, in the order in which torch reads memory."""
    return np.ascontiguousarray(pixels[:, :, ::-1] if framing.flipped else pixels)


def _refuse_changed(picture: Picture, size: Size) -> None:
    original = picture.framing.original
    if size != original:
        message = f"the picture is {_by(size)} now; it was {_by(original)} when it was scanned"
        raise DataError(message, where=str(picture.path), fix="leave the pictures alone during a run")


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
