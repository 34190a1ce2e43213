"""Something to train on: six drawn pictures with captions."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

_SIDE = 64
_COLOURS = ("red", "green", "blue", "orange", "purple", "black")


def draw_pictures(folder: Path) -> None:
    """Draw discs of six colours into a new folder, each with its caption beside it (.txt)."""
    folder.mkdir(parents=True)
    for number, colour in enumerate(_COLOURS):
        picture = Image.new("RGB", (_SIDE, _SIDE), "white")
        edge = 6 + 2 * number
        ImageDraw.Draw(picture).ellipse((edge, edge, _SIDE - edge, _SIDE - edge), fill=colour)
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a {colour} disc\n", encoding="utf-8", newline="\n")
