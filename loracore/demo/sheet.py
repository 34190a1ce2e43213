"""The contact sheet: rows of pictures under their titles, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

MARGIN, TITLE_HEIGHT = 8, 26
PAPER, INK = (250, 250, 248), (40, 40, 40)


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """Pictures of one kind, with what they are."""

    title: str
    pictures: Sequence[Image.Image]


def contact_sheet(rows: Sequence[Row], size: tuple[int, int]) -> Image.Image:
    """Return all rows below each other, every picture brought to ``size`` (width, height)."""
    columns = max(len(row.pictures) for row in rows)
    row_height = TITLE_HEIGHT + size[1] + MARGIN
    sheet = Image.new("RGB", (MARGIN + columns * (size[0] + MARGIN), MARGIN + len(rows) * row_height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for number, row in enumerate(rows):
        top = MARGIN + number * row_height
        pen.text((MARGIN, top + 2), row.title, fill=INK, font=font)
        for column, picture in enumerate(row.pictures):
            place = (MARGIN + column * (size[0] + MARGIN), top + TITLE_HEIGHT)
            sheet.paste(picture.convert("RGB").resize(size), place)
    return sheet
