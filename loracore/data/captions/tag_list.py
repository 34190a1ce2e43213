"""A caption as a list of tags: which keep their place, and which may move or go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loracore.config.dataset_spec import CaptionRules


@dataclass(frozen=True, slots=True)
class TagList:
    """The tags of a caption, in its order."""

    fixed: tuple[str, ...]  # stay in front
    flexible: tuple[str, ...]  # may be shuffled and dropped
    closing: tuple[str, ...] = ()  # stay at the end


def split_tags(text: str, rules: CaptionRules) -> TagList:
    """Return the tags of a text, parted by ``keep_tokens_separator`` where it occurs, else by ``keep_tokens``.

    Empty tags are left out only with the separator. From its third occurrence on, the separator is dropped; under
    ``legacy_captions`` it stays in the text.
    """
    if not is_parted(text, rules):
        tags = tuple(tag.strip() for tag in text.strip().split(rules.caption_separator))
        return TagList(tags[: rules.keep_tokens], tags[rules.keep_tokens :])
    parts = text.split(rules.keep_tokens_separator, 2 if rules.legacy_captions else -1)
    fixed, flexible, *closing = (_present_tags(part, rules.caption_separator) for part in parts)
    return TagList(fixed, flexible, tuple(tag for tags in closing for tag in tags))


def join_tags(tags: Iterable[str]) -> str:
    """Return the tags as text, parted by a comma and a blank whatever separated them in the caption."""
    return ", ".join(tags)


def is_parted(text: str, rules: CaptionRules) -> bool:
    """Tell whether ``keep_tokens_separator`` is set and occurs in the text."""
    return bool(rules.keep_tokens_separator) and rules.keep_tokens_separator in text


def _present_tags(text: str, separator: str) -> tuple[str, ...]:
    stripped = (tag.strip() for tag in text.split(separator))
    return tuple(tag for tag in stripped if tag)
