"""Let the written model draw, and judge what it drew."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from loracore.testing.judging import read_scene
from loracore.testing.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing, caption
from make_demo.architecture import Architecture
from make_demo.pictures import SIDE

CAPTIONS = 40
STEPS = 25
GUIDANCE = 4.0


def plain_scenes(count: int, seed: int) -> list[Scene]:
    """Choose scenes of one plain thing."""
    rng = random.Random(seed)  # noqa: S311  # draws pictures, no secrets
    pairs = [rng.sample(tuple(COLOURS), 2) for _ in range(count)]
    kinds = [(rng.choice(SHAPES), rng.choice(tuple(SIZES)), rng.choice(tuple(PLACES))) for _ in range(count)]
    return [Scene((Thing(colour, *kind),), ground) for (colour, ground), kind in zip(pairs, kinds, strict=True)]


def sample(architecture: Architecture, folder: Path, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """Draw one picture for each prompt with the folder's own pipeline."""
    pipeline = architecture.pipeline(folder)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed + row) for row in range(len(prompts))]
    size = {"height": SIDE, "width": SIDE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    pictures: list[Image.Image] = pipeline(list(prompts), generator=generators, **size).images
    return pictures


def accuracy(scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> dict[str, float]:
    """Give the share of pictures in which each word came out right, and in which all did."""
    right: dict[str, list[bool]] = {"background": [], "colour": [], "shape": [], "place": []}
    for scene, picture in zip(scenes, pictures, strict=True):
        seen, thing = read_scene(picture), scene.things[0]
        right["background"].append(seen.background == scene.background)
        for word in ("colour", "shape", "place"):
            right[word].append(getattr(seen, word) == getattr(thing, word))
    right["all"] = [all(row) for row in zip(*right.values(), strict=True)]
    return {word: sum(rows) / len(rows) for word, rows in right.items()}


def contact_sheet(pictures: Sequence[Image.Image], columns: int = 10) -> Image.Image:
    """Lay pictures side by side."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * SIDE, rows * SIDE))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * SIDE, number // columns * SIDE))
    return sheet


def measure(architecture: Architecture, folder: Path, sheet: Path, seed: int) -> dict[str, float]:
    """Draw forty ordinary captions, save them as one picture, and give the accuracies."""
    scenes = plain_scenes(CAPTIONS, seed)
    pictures = sample(architecture, folder, [caption(scene) for scene in scenes], seed)
    contact_sheet(pictures).save(sheet)
    return accuracy(scenes, pictures)
