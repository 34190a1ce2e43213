"""Render the pictures from which the demo's VAE learns: scenes, and arbitrary drawings beside them."""

import random

import numpy as np
import torch
from PIL import Image, ImageChops, ImageDraw

from loracore.testing.scenes import COLOURS, SHAPES, draw, draw_concept, random_scene, shape_mask

SIDE = 128
_DRAWN_SIDE = 2 * SIDE
_ARBITRARY_SHARE = 0.6  # the rest are scenes
_STRIPED_SHARE = 0.4
_NAMED_COLOUR_SHARE = 0.3
_HOLLOW_SHARE = 0.3


def training_pictures(count: int, rng: random.Random) -> torch.Tensor:
    """Render count pictures: B,3,128,128 uint8."""
    return stacked(
        [_arbitrary(rng) if rng.random() < _ARBITRARY_SHARE else draw(random_scene(rng)) for _ in range(count)]
    )


def unseen_pictures(rng: random.Random) -> torch.Tensor:
    """Render the concept on every background: what no training picture shows and the VAE should draw all the same."""
    places, sizes = ("", "left", "right", "top", "bottom"), ("", "large")
    return stacked([draw_concept(name, rng.choice(places), rng.choice(sizes)) for name in COLOURS])


def stacked(pictures: list[Image.Image]) -> torch.Tensor:
    """Turn pictures of one size into one tensor: B,3,H,W uint8."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()


def as_signal(pictures: torch.Tensor) -> torch.Tensor:
    """Give the values that a VAE reads: floats in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def _arbitrary(rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", (_DRAWN_SIDE, _DRAWN_SIDE), _colour(rng))
    for _ in range(rng.randint(1, 5)):
        draw_one = rng.choice((_silhouette, _silhouette, _ellipse, _bar, _polygon))
        picture.paste(_colour(rng), mask=draw_one(rng))
        if rng.random() < _STRIPED_SHARE:
            last = draw_one(rng)
            picture.paste(_colour(rng), mask=ImageChops.multiply(last, _bars(rng)))
    return picture.reduce(2)


def _colour(rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < _NAMED_COLOUR_SHARE:
        return rng.choice(tuple(COLOURS.values()))
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _silhouette(rng: random.Random) -> Image.Image:
    centre = (rng.uniform(0, _DRAWN_SIDE), rng.uniform(0, _DRAWN_SIDE))
    mask = shape_mask(rng.choice(SHAPES), _DRAWN_SIDE, centre, rng.uniform(0.06, 0.4) * _DRAWN_SIDE)
    return mask.rotate(rng.choice((0.0, rng.uniform(0, 360))), center=centre)


def _ellipse(rng: random.Random) -> Image.Image:
    x, y = rng.uniform(0, _DRAWN_SIDE), rng.uniform(0, _DRAWN_SIDE)
    width, height = (rng.uniform(0.02, 0.35) * _DRAWN_SIDE for _ in range(2))
    mask = _blank()
    box = (x - width, y - height, x + width, y + height)
    hollow = rng.random() < _HOLLOW_SHARE
    ImageDraw.Draw(mask).ellipse(box, fill=None if hollow else 255, outline=255, width=rng.randint(6, 28))
    return mask


def _bar(rng: random.Random) -> Image.Image:
    mask = _blank()
    ends = [rng.uniform(0, _DRAWN_SIDE) for _ in range(4)]
    ImageDraw.Draw(mask).line(ends, fill=255, width=rng.randint(6, 50))
    return mask


def _polygon(rng: random.Random) -> Image.Image:
    mask = _blank()
    x, y = rng.uniform(0, _DRAWN_SIDE), rng.uniform(0, _DRAWN_SIDE)
    reach = rng.uniform(0.1, 0.4) * _DRAWN_SIDE
    corners = [(x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach)) for _ in range(rng.randint(3, 4))]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask


def _bars(rng: random.Random) -> Image.Image:
    mask = _blank()
    pen = ImageDraw.Draw(mask)
    period = rng.randint(24, 80)
    for start in range(rng.randrange(period), _DRAWN_SIDE, period):
        pen.line((start, 0, start, _DRAWN_SIDE), fill=255, width=round(period * 0.45))
    return mask.rotate(rng.choice((0, 45, 90, 135)))


def _blank() -> Image.Image:
    return Image.new("L", (_DRAWN_SIDE, _DRAWN_SIDE))
