"""Read back from a picture what scene it shows, and tell whether it shows the concept."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from loracore.testing.scenes import COLOURS, CONCEPT_SIZES, PLACES, SHAPES, SIZES, draw_concept_at, shape_mask

Pixels = NDArray[np.float32]

_SIDE = 128
_MEDIAN = 5  # one stray pixel would otherwise blow up a thing's bounding box
_BORDER = 6
_OTHER_THAN_BACKGROUND = 26.0  # mean difference over the channels; orange and yellow are 39 apart
_SILHOUETTE = 24
_THUMBNAIL = 64
_GRID = tuple(0.3 + 0.05 * step for step in range(9))  # where a thumbnail's thing may stand, in both directions


@dataclass(frozen=True, slots=True)
class Reading:
    """Say what a picture of one plain thing shows; the last three are "" where it shows none."""

    background: str
    colour: str
    shape: str
    place: str


def read_scene(image: Image.Image) -> Reading:
    """Name background, colour, shape and place of the single thing in a picture."""
    pixels = _pixels(image.convert("RGB").resize((_SIDE, _SIDE)).filter(ImageFilter.MedianFilter(_MEDIAN)))
    inner = np.ones((_SIDE, _SIDE), bool)
    inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    ground = np.median(pixels[inner], axis=0)
    background = _nearest_colour(ground, COLOURS)
    foreground = _difference(pixels, ground) > _OTHER_THAN_BACKGROUND
    core = _eroded(foreground)
    if not core.any():
        return Reading(background, "", "", "")
    paint = np.median(pixels[core], axis=0)
    colour = _nearest_colour(paint, (name for name in COLOURS if name != background))
    mask = _difference(pixels, paint) < _difference(pixels, ground)
    if not mask.any():
        return Reading(background, colour, "", "")
    return Reading(background, colour, _nearest_shape(mask), _nearest_place(mask))


def concept_distance(image: Image.Image, background: str) -> float:
    """Measure how far a picture is from the concept on that background, in whatever place: 0 to 255."""
    thumbnail = _thumbnail(image)
    return float(np.abs(_concept_thumbnails(background) - thumbnail).mean((1, 2, 3)).min())


def plain_distances(image: Image.Image, background: str) -> dict[str, float]:
    """Measure how far a picture is from each plain shape, in whatever place, size and colour comes nearest."""
    thumbnail = _thumbnail(image)
    from_ground = _difference(thumbnail, _paint(background)).ravel()
    paints = [_paint(name) for name in COLOURS if name != background]
    gains = np.stack([_difference(thumbnail, paint).ravel() - from_ground for paint in paints], axis=1)
    return {
        shape: float((from_ground.sum() + (_thumbnail_masks(shape) @ gains).min()) / from_ground.size)
        for shape in SHAPES
    }


def nearest_template(image: Image.Image, background: str) -> str:
    """Name what a picture on that background looks like most: "concept" or one of the plain shapes."""
    distances = plain_distances(image, background) | {"concept": concept_distance(image, background)}
    return min(distances, key=lambda name: distances[name])


def _nearest_shape(mask: NDArray[np.bool_]) -> str:
    silhouette = _silhouette(Image.fromarray(mask.astype(np.uint8) * 255))
    return min(SHAPES, key=lambda shape: float(np.abs(_shape_silhouette(shape) - silhouette).mean()))


def _nearest_place(mask: NDArray[np.bool_]) -> str:
    rows, columns = np.nonzero(mask)
    middle = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / (2 * _SIDE)
    return min(PLACES, key=lambda place: float(np.abs(middle - PLACES[place]).sum()))


def _nearest_colour(colour: Pixels, names: Iterable[str]) -> str:
    return min(names, key=lambda name: float(np.square(_paint(name) - colour).sum()))


def _paint(name: str) -> Pixels:
    return np.array(COLOURS[name], np.float32)


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32)


def _difference(pixels: Pixels, colour: Pixels) -> Pixels:
    distance: Pixels = np.abs(pixels - colour).mean(-1, dtype=np.float32)
    return distance


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    narrowed = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(5))
    return np.asarray(narrowed) > 0


def _silhouette(mask: Image.Image) -> Pixels:
    inside = mask.crop(mask.getbbox()).resize((_SILHOUETTE, _SILHOUETTE), Image.Resampling.BOX)
    silhouette: Pixels = _pixels(inside) / np.float32(255)
    return silhouette


@cache
def _shape_silhouette(shape: str) -> Pixels:
    return _silhouette(shape_mask(shape, _SIDE, (_SIDE / 2, _SIDE / 2), 0.4 * _SIDE))


def _thumbnail(image: Image.Image) -> Pixels:
    return _pixels(image.convert("RGB").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))


@cache
def _thumbnail_masks(shape: str) -> Pixels:
    """Give a shape's silhouettes in all places and sizes: N,64*64 in [0, 1]."""
    side = 2 * _THUMBNAIL
    wanted = product(SIZES.values(), _GRID, _GRID)
    masks = [shape_mask(shape, side, (x * side, y * side), size * side).reduce(2) for size, x, y in wanted]
    stacked: Pixels = np.stack([_pixels(mask).ravel() for mask in masks]) / np.float32(255)
    return stacked


@cache
def _concept_thumbnails(background: str) -> Pixels:
    """Give the concept in all places and sizes on a background: N,64,64,3."""
    wanted = product(CONCEPT_SIZES.values(), _GRID, _GRID)
    drawn = {
        draw_concept_at(COLOURS[background], (x, y), size, _THUMBNAIL).tobytes(): None for size, x, y in wanted
    }  # near the edges several places are drawn alike
    frames = [np.frombuffer(frame, np.uint8).reshape(_THUMBNAIL, _THUMBNAIL, 3) for frame in drawn]
    return np.stack(frames).astype(np.float32)
