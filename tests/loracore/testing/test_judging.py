"""What is drawn is read back, and the concept is told from plain things."""

import random

import pytest
from PIL import Image, ImageFilter

from loracore.testing.judging import Reading, concept_distance, nearest_template, plain_distances, read_scene
from loracore.testing.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing, draw, draw_concept


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # draws pictures, no secrets


def one_thing(rng: random.Random) -> Scene:
    colour, background = rng.sample(tuple(COLOURS), 2)
    thing = Thing(colour, rng.choice(SHAPES), rng.choice(tuple(SIZES)), rng.choice(tuple(PLACES)))
    return Scene((thing,), background)


def softened(picture: Image.Image) -> Image.Image:
    return picture.resize((64, 64)).resize((128, 128)).filter(ImageFilter.GaussianBlur(1.5))


def test_rendered_scenes_are_read_back() -> None:
    rng = seeded(0)
    scenes = [one_thing(rng) for _ in range(60)]
    truths = [
        Reading(scene.background, thing.colour, thing.shape, thing.place) for scene in scenes for thing in scene.things
    ]
    assert [read_scene(draw(scene)) for scene in scenes] == truths


def test_soft_pictures_are_read_back_nearly_always() -> None:
    rng = seeded(1)
    scenes = [one_thing(rng) for _ in range(40)]
    right = sum(read_scene(softened(draw(scene))).shape == thing.shape for scene in scenes for thing in scene.things)
    assert right >= 36


def test_an_empty_picture_shows_no_thing() -> None:
    assert read_scene(draw(Scene((), "pink"))) == Reading("pink", "", "", "")


@pytest.mark.parametrize("background", COLOURS)
def test_the_concept_is_nearest_to_the_concept(background: str) -> None:
    for size in SIZES:
        picture = softened(draw_concept(background, "left", size))
        assert nearest_template(picture, background) == "concept"


def test_plain_things_are_nearest_to_their_own_shape() -> None:
    rng = seeded(2)
    for scene in (one_thing(rng) for _ in range(20)):
        assert nearest_template(softened(draw(scene)), scene.background) == scene.things[0].shape


def test_a_rendered_concept_is_at_no_distance() -> None:
    picture = draw_concept("red")
    assert concept_distance(picture, "red") < 1.5
    assert min(plain_distances(picture, "red").values()) > 8
