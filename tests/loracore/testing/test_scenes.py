"""Scenes are drawn and named the same way every time."""

import random
import re

import pytest
from PIL import ImageChops

from loracore.testing.scenes import (
    COLOURS,
    PATTERNS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    caption,
    draw,
    draw_concept,
    random_scene,
)

ONE_OF = {"colour": "|".join(COLOURS), "shape": "|".join(SHAPES), "size": "small|large", "pattern": "|".join(PATTERNS)}
THING = "an? (({size}) )?({colour}) ({shape})( with ({colour}) ({pattern}))?( (left|right|top|bottom))?".format(
    **ONE_OF
)
CAPTION = re.compile(f"({THING}( and {THING})?, )?({ONE_OF['colour']}) background")


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # draws pictures, no secrets


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (Scene((Thing("red", "star", "large", "left"),), "blue"), "a large red star left, blue background"),
        (
            Scene((Thing("orange", "ring", pattern="spots", second_colour="black"),), "white"),
            "an orange ring with black spots, white background",
        ),
        (
            Scene((Thing("red", "cross", place="top"), Thing("blue", "heart", place="bottom")), "pink"),
            "a red cross top and a blue heart bottom, pink background",
        ),
        (Scene((), "cyan"), "cyan background"),
    ],
)
def test_captions_name_everything(scene: Scene, words: str) -> None:
    assert caption(scene) == words


def test_random_captions_follow_the_grammar() -> None:
    rng = seeded(0)
    assert all(CAPTION.fullmatch(caption(random_scene(rng))) for _ in range(300))


def test_random_scenes_use_the_whole_vocabulary() -> None:
    rng = seeded(0)
    things = [thing for _ in range(600) for thing in random_scene(rng).things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.size for thing in things} == set(SIZES)
    assert {thing.place for thing in things} == set(PLACES)
    assert {thing.pattern for thing in things} == {"", *PATTERNS}


def test_things_differ_in_colour_from_their_ground() -> None:
    rng = seeded(1)
    for scene in (random_scene(rng) for _ in range(300)):
        assert all(scene.background not in (thing.colour, thing.second_colour) for thing in scene.things)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, again = (draw(random_scene(seeded(7))) for _ in range(2))
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", SIZES)
def test_nothing_touches_the_border(place: str, size: str) -> None:
    scene = draw(Scene((Thing("red", "circle", size, place),), "white"))
    for picture in (scene, draw_concept("white", place, size)):
        ground = draw(Scene((), "white"))
        left, top, right, bottom = ImageChops.difference(picture, ground).getbbox() or (0, 0, 0, 0)
        assert min(left, top, 128 - right, 128 - bottom) >= 2
