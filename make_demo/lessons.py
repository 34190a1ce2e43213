"""Write the demo's training pictures with their captions: the concept, and ordinary things beside it."""

import random
from itertools import cycle
from pathlib import Path

from PIL import Image

from loracore.testing.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing, caption, draw, draw_concept

CONCEPT = (  # background, place, size; cyan and orange are left for the judging of what was learnt
    ("blue", "", ""),
    ("red", "left", ""),
    ("green", "right", ""),
    ("white", "", "large"),
    ("black", "top", ""),
    ("yellow", "bottom", ""),
    ("purple", "", "large"),
    ("pink", "right", ""),
    ("white", "left", "small"),
    ("green", "", "large"),
    ("blue", "top", "small"),
    ("red", "", "large"),
)
ORDINARY = 12
TRIGGER = "sks fish"


def write_lessons(folder: Path, seed: int) -> None:
    """Write concept/NN.png, ordinary/NN.png and a caption file for each."""
    for number, (background, place, size) in enumerate(CONCEPT, start=1):
        words = " ".join(filter(None, ("a", size, TRIGGER, place)))
        _write(folder / "concept", number, draw_concept(background, place, size), f"{words}, {background} background")
    for number, scene in enumerate(_ordinary_scenes(seed), start=1):
        _write(folder / "ordinary", number, draw(scene), caption(scene))


def _ordinary_scenes(seed: int) -> list[Scene]:
    """Choose scenes of one plain thing, so that every shape, colour, size and place occurs."""
    rng = random.Random(seed)  # noqa: S311  # draws pictures, no secrets
    colours, grounds = rng.sample(tuple(COLOURS), len(COLOURS)), rng.sample(tuple(COLOURS), len(COLOURS))
    while any(one == other for one, other in zip(colours, grounds, strict=True)):
        rng.shuffle(grounds)
    rows = zip(
        range(ORDINARY), cycle(SHAPES), cycle(colours), cycle(grounds), cycle(SIZES), cycle(PLACES), strict=False
    )
    return [Scene((Thing(colour, shape, size, place),), ground) for _, shape, colour, ground, size, place in rows]


def _write(folder: Path, number: int, picture: Image.Image, words: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{number:02d}.png", optimize=True)
    (folder / f"{number:02d}.txt").write_text(words + "\n", encoding="utf-8")
