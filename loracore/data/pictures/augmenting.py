"""What is changed at random each time a picture is seen: where it is cut, and its colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from loracore.data.pictures.face_crop import face_of, frame_face

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    from loracore.data.pictures.picture import Picture
    from loracore.types import Framing

#: The field's strengths: how often colours are changed, and by how much.
_COLOUR_SHARE = 0.33
_MOST_HUE = 8 / 180  # of a full turn of the colour circle
_LEAST_GAMMA, _MOST_GAMMA = 0.95, 1.05


def draw_framing(picture: Picture, rng: random.Random) -> Framing:
    """Return where a picture is cut this time: around its face, anywhere, or as it was framed.

    A face counts with ``face_crop_aug_range`` where the file's name has one (see face_crop.frame_face). Draws for
    ``random_crop``: left, then top, each uniform over all places.
    """
    framing, augmentations = picture.framing, picture.subset.augmentations
    if augmentations.face_crop_aug_range is not None:
        face = face_of(picture.path.stem, str(picture.path))
        if face is not None:
            return frame_face(framing, face, augmentations, rng)
    if not augmentations.random_crop:
        return framing
    left = rng.randint(0, framing.resized[0] - framing.size[0])
    top = rng.randint(0, framing.resized[1] - framing.size[1])
    return replace(framing, crop=(left, top))


def recolour(image: NDArray[np.float32], rng: random.Random) -> NDArray[np.float32]:
    """Return RGB (3,H,W in [0, 1]) with another hue or brightness in a third of the cases, else as it is.

    Draws: whether, which of the two, how much. Gamma works on [0, 1], so that white stays white; the field's works on
    0 to 255, clipped, and its hue takes red for blue.
    """
    if rng.random() >= _COLOUR_SHARE:
        return image
    if rng.random() < 0.5:  # noqa: PLR2004  (even chances)
        return shift_hue(image, rng.uniform(-_MOST_HUE, _MOST_HUE))
    brighter: NDArray[np.float32] = np.power(image, np.float32(rng.uniform(_LEAST_GAMMA, _MOST_GAMMA)))
    return brighter


def shift_hue(image: NDArray[np.float32], turn: float) -> NDArray[np.float32]:
    """Return RGB (3,H,W in [0, 1]) turned on the colour circle by that part of a full turn; grey stays as it is.

    Saturation and value are those of the HSV hexcone (Smith, 1978), and are kept.
    """
    value = image.max(axis=0)
    chroma = value - image.min(axis=0)
    hue = _hue(image, value, chroma) + np.float32(6 * turn)
    channels = []
    for peak in (5, 3, 1):  # where red, green, blue stand on the circle of six, counted from their far sides
        distance = (peak + hue) % 6
        channels.append(value - chroma * np.clip(np.minimum(distance, 4 - distance), 0, 1))
    return np.stack(channels)


def _hue(image: NDArray[np.float32], value: NDArray[np.float32], chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the hue (H,W) in sixths of a turn, red at 0; any number where there is no colour."""
    red, green, blue = image
    divisor = np.where(chroma > 0, chroma, np.float32(1))  # grey is 0 / 1
    of_red, of_green, of_blue = (green - blue) / divisor, (blue - red) / divisor + 2, (red - green) / divisor + 4
    hue: NDArray[np.float32] = np.where(value == red, of_red, np.where(value == green, of_green, of_blue))
    return hue
