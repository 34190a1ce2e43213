"""Preview pictures inside a page: small, as data URLs, in a grid of prompts and steps."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

#: Pixels of the longer side, above which a preview is made smaller.
LARGEST = 384
#: Steps that the grid shows of longer runs: the first, the last, and some between.
MOST_COLUMNS = 16

Event = Mapping[str, Any]


def preview_grid(previews: Sequence[Event], folder: Path) -> str:
    """Return a table, one row of pictures a prompt and a column for every step; empty without previews.

    ``folder`` is that of the events: pictures whose path leads nowhere are looked for beside it.
    """
    steps = sorted({event["step"] for event in previews})
    if not steps:
        return ""
    shown = spread(steps, MOST_COLUMNS)
    rows: dict[int, list[Event]] = {}
    for event in previews:
        rows.setdefault(event.get("index", 0), []).append(event)
    heads = "".join(f'<th scope="col">step {step}</th>' for step in shown)
    bodies = "".join(_prompt(rows[index], shown, folder) for index in sorted(rows))
    less = f"<p>{len(shown)} of {len(steps)} steps are shown.</p>" if len(shown) < len(steps) else ""
    label = "Previews: prompts and steps"
    return (
        f'{less}<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="previews">'
        f"<thead><tr>{heads}</tr></thead>{bodies}</table></div>"
    )


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the steps, the first and the last among them, evenly apart."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(number * (len(steps) - 1) / (most - 1))] for number in range(most)]


def picture_url(path: Path) -> tuple[str, tuple[int, int]] | None:
    """Return a picture, made small, as a data URL with its (width, height); None when it cannot be read."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((LARGEST, LARGEST))
    data = BytesIO()
    small.save(data, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii"), small.size


def _prompt(events: Sequence[Event], steps: Sequence[int], folder: Path) -> str:
    by_step = {event["step"]: event for event in events}
    head = f'<tr><th scope="rowgroup" colspan="{len(steps)}"><span>{escape(_words(events[-1]))}</span></th></tr>'
    cells = "".join(f"<td>{_cell(by_step[step], folder) if step in by_step else ''}</td>" for step in steps)
    return f"<tbody>{head}<tr>{cells}</tr></tbody>"


def _words(event: Event) -> str:
    negative = event.get("negative_prompt")
    return f"{event.get('prompt', '')}" + (f" — without: {negative}" if negative else "")


def _cell(event: Event, folder: Path) -> str:
    path = Path(event["path"])
    found = picture_url(path) or picture_url(folder.parent / path.parent.name / path.name)
    if found is None:
        return f'<p class="missing">{escape(path.name)} is missing</p>'
    url, (width, height) = found
    about = f"{event.get('prompt', '')}, step {event['step']}, seed {event.get('seed')}"
    return f'<img src="{url}" width="{width}" height="{height}" alt="{escape(about)}" title="{escape(about)}">'
