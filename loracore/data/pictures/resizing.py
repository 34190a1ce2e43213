"""Pictures brought to their training size: resized and cut as a framing says."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from loracore.types import Framing

#: Pillow's filter for each name of ``resize_interpolation`` but ``area``, which depends on the sizes.
_FILTERS = MappingProxyType(
    {
        "box": Image.Resampling.BOX,
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "linear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "cubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
)


def frame(image: Image.Image, framing: Framing, interpolation: str | None) -> Image.Image:
    """Return an upright picture resized and cut as its framing says; it is not mirrored.

    ``interpolation`` is a name of ``resize_interpolation``; without one, areas are averaged, or Lanczos is used where a
    side grows. A picture with an alpha channel must come without it: Pillow would mix colours by opacity.
    """
    if framing.resized != framing.original:
        image = image.resize(framing.resized, _filter(framing, interpolation))
    left, top = framing.crop
    return image.crop((left, top, left + framing.size[0], top + framing.size[1]))


def _filter(framing: Framing, interpolation: str | None) -> Image.Resampling:
    """Return Pillow's filter of that name.

    The field uses OpenCV's for all but ``lanczos`` and ``box``. Pixels differ from those in three places: when
    shrinking, Pillow's bilinear and bicubic average what they skip over and OpenCV's do not; the bicubic curves differ
    (a = -0.5 here, -0.75 there); ``area`` rounds differently. Enlarging by ``area`` is bilinear in both.
    """
    grows = framing.resized[0] > framing.original[0] or framing.resized[1] > framing.original[1]
    if interpolation is None:
        return Image.Resampling.LANCZOS if grows else Image.Resampling.BOX
    if interpolation == "area":
        return Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    return _FILTERS[interpolation]
