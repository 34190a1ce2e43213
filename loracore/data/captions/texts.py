"""What a picture's caption says: pure functions of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loracore.config.dataset_spec import CaptionRules

_LINE_END = re.compile(r"\r|\n")


def first_line(text: str) -> str:
    """Return the first line of a caption file without surrounding blanks; it may be empty."""
    return _LINE_END.split(text, maxsplit=1)[0].strip()


def caption_text(text: str, rules: CaptionRules) -> str:
    """Return what a caption file says: its first line or, with wildcards, all lines that are not blank."""
    if not rules.enable_wildcard:
        return first_line(text)
    lines = (line.strip() for line in _LINE_END.split(text))
    return "\n".join(line for line in lines if line)


def with_affixes(caption: str, prefix: str, suffix: str) -> str:
    """Return the caption between its prefix and suffix, one blank between them; empty ones add nothing."""
    before = f"{prefix} " if prefix else ""
    after = f" {suffix}" if suffix else ""
    return f"{before}{caption}{after}"


def caption_stems(stem: str) -> tuple[str, ...]:
    """Return the names, without extension, under which a picture's caption is looked for, in this order.

    A picture named for the place of its face, ``name_x_y_w_h``, may share the caption of ``name``.
    """
    parts = stem.split("_")
    return (stem, "_".join(parts[:-4])) if len(parts) > 4 else (stem,)  # noqa: PLR2004  # x, y, w, h


def tag_frequency(captions: Iterable[str]) -> Counter[str]:
    """Return how often each comma-separated tag occurs, in lower case."""
    tags = (tag.strip().lower() for caption in captions for tag in caption.split(","))
    return Counter(tag for tag in tags if tag)
