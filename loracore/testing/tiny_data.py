"""Tiny pictures with captions, for runs of a few steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def write_pictures(folder: Path, count: int = 6, sizes: Sequence[tuple[int, int]] = ((96, 48), (64, 64))) -> Path:
    """Write ``count`` PNGs with captions beside them (.txt) into a folder, in turn of these sizes, and return it.

    Each has a colour of its own and a white square; the same count gives the same pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)  # noqa: S311  # colours, not secrets
    for number in range(count):
        picture = Image.new("RGB", sizes[number % len(sizes)], tuple(rng.randrange(256) for _ in range(3)))
        picture.paste((255, 255, 255), (10, 10, 30, 30))
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture number {number}", encoding="utf-8")
    return folder
