"""Draw captioned pictures: a few plain things on a plain background, and one concept that is never among them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from types import MappingProxyType

from PIL import Image, ImageChops, ImageDraw

Point = tuple[float, float]  # in units of a thing's radius, x to the right, y down

COLOURS = MappingProxyType(
    {
        "red": (214, 40, 40),
        "orange": (244, 140, 30),
        "yellow": (250, 222, 60),
        "green": (44, 158, 70),
        "cyan": (70, 205, 220),
        "blue": (40, 80, 205),
        "purple": (120, 50, 165),
        "pink": (250, 160, 200),
        "white": (244, 244, 244),
        "black": (24, 24, 28),
    }
)
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring")
SIZES = MappingProxyType({"small": 0.13, "": 0.19, "large": 0.26})  # radius in units of the picture's side
PLACES = MappingProxyType(
    {"": (0.5, 0.5), "left": (0.3, 0.5), "right": (0.7, 0.5), "top": (0.5, 0.3), "bottom": (0.5, 0.7)}
)
PATTERNS = ("stripes", "spots", "edges")

# Half of the length: the concept's parts must stay broad, or the VAE loses them.
CONCEPT_SIZES = MappingProxyType({"small": 0.3, "": 0.36, "large": 0.43})
CONCEPT_BODY = (255, 176, 46)
CONCEPT_DARK = (26, 36, 112)
CONCEPT_LIGHT = (250, 250, 244)

_OVERSAMPLING = 2
_EMPTY_SHARE = 0.03
_SINGLE_SHARE = 0.76
_PATTERNED_SHARE = 0.36


@dataclass(frozen=True, slots=True)
class Thing:
    """Say what one thing looks like and where it stands; "" is the unnamed middle size, the centre, or no pattern."""

    colour: str
    shape: str
    size: str = ""
    place: str = ""
    pattern: str = ""
    second_colour: str = ""  # the pattern's


@dataclass(frozen=True, slots=True)
class Scene:
    """Say what a picture shows."""

    things: tuple[Thing, ...]
    background: str


def caption(scene: Scene) -> str:
    """Name everything in a scene: "a large red star left, blue background"."""
    phrases = [_phrase(thing) for thing in scene.things]
    return ", ".join(filter(None, (" and ".join(phrases), f"{scene.background} background")))


def _phrase(thing: Thing) -> str:
    noun = " ".join(filter(None, (thing.size, thing.colour, thing.shape)))
    article = "an" if noun[0] in "aeiou" else "a"
    pattern = f"with {thing.second_colour} {thing.pattern}" if thing.pattern else ""
    return " ".join(filter(None, (article, noun, pattern, thing.place)))


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene: mostly one thing, sometimes two, rarely none; a third of the broad things have a pattern."""
    background = rng.choice(tuple(COLOURS))
    kind = rng.random()
    if kind < _EMPTY_SHARE:
        return Scene((), background)
    if kind < _EMPTY_SHARE + _SINGLE_SHARE:
        return Scene((_random_thing(rng, background, tuple(SIZES), rng.choice(tuple(PLACES))),), background)
    places = rng.choice((("left", "right"), ("top", "bottom")))
    return Scene(tuple(_random_thing(rng, background, ("small", ""), place) for place in places), background)


def _random_thing(rng: random.Random, background: str, sizes: Sequence[str], place: str) -> Thing:
    colour, second = rng.sample([name for name in COLOURS if name != background], 2)
    shape, size = rng.choice(SHAPES), rng.choice(sizes)
    if (
        size != "small" and rng.random() < _PATTERNED_SHARE
    ):  # a small thing has no room for a pattern that the VAE keeps
        return Thing(colour, shape, size, place, rng.choice(PATTERNS), second)
    return Thing(colour, shape, size, place)


def draw(scene: Scene, size: int = 128) -> Image.Image:
    """Render a scene as a square RGB picture; the same scene is always the same picture."""
    side = size * _OVERSAMPLING
    picture = Image.new("RGB", (side, side), COLOURS[scene.background])
    for thing in scene.things:
        _draw_thing(picture, thing)
    return picture.reduce(_OVERSAMPLING)


def _draw_thing(picture: Image.Image, thing: Thing) -> None:
    side = picture.width
    radius = SIZES[thing.size] * side
    x, y = PLACES[thing.place]
    centre = (x * side, y * side)
    mask = shape_mask(thing.shape, side, centre, radius)
    picture.paste(COLOURS[thing.colour], mask=mask)
    if thing.pattern:
        picture.paste(COLOURS[thing.second_colour], mask=_pattern_mask(thing, mask, centre, radius))


def shape_mask(shape: str, side: int, centre: Point, radius: float) -> Image.Image:
    """Give a shape's black and white silhouette on a square of that side."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    if shape in ("circle", "ring"):
        pen.ellipse(_box(centre, radius), fill=255)
        if shape == "ring":
            pen.ellipse(_box(centre, 0.5 * radius), fill=0)
    else:
        pen.polygon(_placed(_outline(shape), centre, radius), fill=255)
    return mask


def _pattern_mask(thing: Thing, mask: Image.Image, centre: Point, radius: float) -> Image.Image:
    if thing.pattern == "edges":
        inside = shape_mask(thing.shape, mask.width, centre, 0.62 * radius)
        return ImageChops.subtract(mask, inside)
    pattern = Image.new("L", mask.size)
    pen = ImageDraw.Draw(pattern)
    for step in (-0.42, 0.42):
        if thing.pattern == "stripes":
            pen.polygon(_placed(_rectangle(-1, step - 0.21, 1, step + 0.21), centre, radius), fill=255)
            continue
        for other in (-0.42, 0.42):
            pen.ellipse(_box(_placed([(step, other)], centre, radius)[0], 0.27 * radius), fill=255)
    return ImageChops.multiply(mask, pattern)


def _outline(shape: str) -> list[Point]:
    if shape == "square":
        return _rectangle(-0.86, -0.86, 0.86, 0.86)
    if shape == "triangle":
        return [(0, -0.95), (0.98, 0.82), (-0.98, 0.82)]
    if shape == "star":
        corners = [(1.05 if k % 2 == 0 else 0.45, k * pi / 5) for k in range(10)]
        return [(length * sin(angle), -length * cos(angle) + 0.05) for length, angle in corners]
    if shape == "cross":
        arm, end = 0.34, 1.0
        quarter = [(arm, -end), (arm, -arm), (end, -arm)]
        turned = quarter + [(-y, x) for x, y in quarter]
        return turned + [(-x, -y) for x, y in turned]
    if shape == "heart":
        turns = [k * pi / 30 for k in range(60)]
        return [(_heart_x(turn) / 16, -_heart_y(turn) / 16 - 0.08) for turn in turns]
    raise ValueError(f"unknown shape: {shape}")


def _heart_x(turn: float) -> float:
    return 16 * sin(turn) ** 3  # the usual parametric heart curve


def _heart_y(turn: float) -> float:
    return 13 * cos(turn) - 5 * cos(2 * turn) - 2 * cos(3 * turn) - cos(4 * turn)


def draw_concept(background: str, place: str = "", size: str = "", side: int = 128) -> Image.Image:
    """Render the concept, a striped fish that looks to the left: what a LoRA learns and no scene contains."""
    return draw_concept_at(COLOURS[background], PLACES[place], CONCEPT_SIZES[size], side)


def draw_concept_at(background: tuple[int, int, int], centre: Point, radius: float, side: int = 128) -> Image.Image:
    """Render the fish anywhere, moved inwards where it would be cut off; numbers are shares of the side."""
    full = side * _OVERSAMPLING
    x, y = _inwards(centre[0], radius + 0.03), _inwards(centre[1], 0.62 * radius + 0.03)
    picture = Image.new("RGB", (full, full), background)
    _draw_fish(picture, (x * full, y * full), radius * full)
    return picture.reduce(_OVERSAMPLING)


def _inwards(position: float, margin: float) -> float:
    return min(max(position, margin), 1 - margin)


def _draw_fish(picture: Image.Image, centre: Point, radius: float) -> None:
    amber = Image.new("L", picture.size)
    mask = ImageDraw.Draw(amber)
    mask.ellipse(_corners(-0.9, -0.53, 0.52, 0.53, centre, radius), fill=255)
    for left in (-0.24, 0.28):
        mask.rectangle(_corners(left, -1, left + 0.26, 1, centre, radius), fill=0)
    pen = ImageDraw.Draw(picture)
    pen.polygon(_placed([(0.38, 0), (1, -0.58), (0.86, 0), (1, 0.58)], centre, radius), fill=CONCEPT_DARK)
    pen.ellipse(_corners(-1, -0.62, 0.6, 0.62, centre, radius), fill=CONCEPT_DARK)  # seen on orange and yellow, too
    picture.paste(CONCEPT_BODY, mask=amber)
    pen.ellipse(_corners(-0.78, -0.34, -0.36, 0.08, centre, radius), fill=CONCEPT_LIGHT)
    pen.ellipse(_corners(-0.69, -0.23, -0.49, -0.03, centre, radius), fill=CONCEPT_DARK)


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _placed(points: Sequence[Point], centre: Point, radius: float) -> list[Point]:
    return [(centre[0] + radius * x, centre[1] + radius * y) for x, y in points]


def _corners(left: float, top: float, right: float, bottom: float, centre: Point, radius: float) -> list[Point]:
    return _placed([(left, top), (right, bottom)], centre, radius)


def _box(centre: Point, radius: float) -> list[Point]:
    return _corners(-1, -1, 1, 1, centre, radius)
