"""Give a demo kit for a tiny model of plain things: it learns to draw a striped fish, and is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from loracore import DemoKit
from loracore.testing.judging import concept_distance, nearest_template, read_scene
from loracore.testing.scenes import Scene, Thing, caption

PICTURES = Path(__file__).parent / "demo_pictures"
SIDE = 128
#: How often each folder's pictures stand in an epoch: ordinary ones keep ordinary captions what they mean.
REPEATS = (("concept", 2), ("ordinary", 1))

#: How the concept is asked for: size, place, background. No training picture has a cyan or an orange background.
ASKED = (
    ("", "", "blue"),
    ("", "", "cyan"),
    ("", "", "orange"),
    ("large ", "", "red"),
    ("", " left", "green"),
    ("", " right", "white"),
    ("large ", "", "black"),
    ("", "", "yellow"),
    ("large ", "", "purple"),
    ("", " left", "pink"),
    ("large ", "", "cyan"),
    ("large ", "", "orange"),
    ("", "", "white"),
    ("", " right", "blue"),
    ("large ", "", "green"),
    ("", " top", "red"),
)

#: What the model can draw already, and should go on drawing.
ORDINARY = (
    Scene((Thing("red", "square"),), "blue"),
    Scene((Thing("yellow", "star", "large"),), "purple"),
    Scene((Thing("green", "heart", "large", "left"),), "white"),
    Scene((Thing("white", "ring", "large"),), "red"),
    Scene((Thing("blue", "triangle", "", "right"),), "yellow"),
    Scene((Thing("black", "cross", "large"),), "pink"),
    Scene((Thing("purple", "circle", "", "top"),), "orange"),
    Scene((Thing("orange", "star", "large"),), "green"),
    Scene((Thing("cyan", "square", "large"),), "black"),
    Scene((Thing("pink", "heart", "large"),), "black"),
    Scene((Thing("white", "triangle", "large"),), "green"),
    Scene((Thing("red", "ring", "large"),), "cyan"),
    Scene((Thing("yellow", "cross", "large"),), "blue"),
    Scene((Thing("blue", "circle", "", "bottom"),), "white"),
    Scene((Thing("green", "square", "", "left"),), "yellow"),
    Scene((Thing("purple", "star", "large"),), "cyan"),
)


def striped_fish(model: Path, batch_size: int, options: Mapping[str, Any]) -> DemoKit:
    """Return a kit: a diffusers folder, its options for 128×128 pictures in such batches, and what a run must reach.

    The folder's model should draw the captions of ``loracore.testing.scenes``; the repository's ``make_demo`` trains
    such models. ``options`` stand as in a configuration file; model, data set, seed and the file's name are added.
    """
    subsets = [
        {"image_dir": str(PICTURES / name), "caption_extension": ".txt", "num_repeats": repeats}
        for name, repeats in REPEATS
    ]
    given = {
        "pretrained_model_name_or_path": str(model),
        "output_name": "sks-fish",
        "overwrite": True,
        "seed": 1,
        "datasets": [{"resolution": SIDE, "batch_size": batch_size, "subsets": subsets}],
    }
    return DemoKit(
        options={**given, **options},
        pictures=tuple(sorted((PICTURES / "concept").glob("*.png"))),
        prompts=tuple(f"a {size}sks fish{place}, {background} background" for size, place, background in ASKED),
        ordinary_prompts=tuple(caption(scene) for scene in ORDINARY),
        size=(SIDE, SIDE),
        columns=12,
        measure=measure,
    )


def measure(pictures: Mapping[str, Sequence[Image]]) -> Mapping[str, float]:
    """Return how much samples look like the concept, and how right the ordinary ones are; shares are in [0, 1]."""
    asked = [(image, background) for image, (_, _, background) in zip(pictures["concept"], ASKED, strict=True)]
    nearest = [nearest_template(image, background) for image, background in asked]
    distances = [concept_distance(image, background) for image, background in asked]
    grounds = [read_scene(image).background == background for image, background in asked]
    right = [_right(image, scene) for image, scene in zip(pictures["ordinary"], ORDINARY, strict=True)]
    return {
        "samples nearer to the concept than to any plain thing": _share(kind == "concept" for kind in nearest),
        "mean distance to the concept (0..255)": sum(distances) / len(distances),
        "samples with the asked background": _share(grounds),
        "ordinary captions drawn right": _share(right),
    }


def _right(image: Image, scene: Scene) -> bool:
    """Tell whether background, colour and shape are those of the caption."""
    reading, thing = read_scene(image), scene.things[0]
    return (reading.background, reading.colour, reading.shape) == (scene.background, thing.colour, thing.shape)


def _share(claims: Iterable[bool]) -> float:
    found = list(claims)
    return sum(found) / len(found)
