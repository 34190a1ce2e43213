"""Where on the Hugging Face hub a state lies: ``OWNER/NAME/PATH[:REVISION[:TYPE]]``, as the field writes it."""

from __future__ import annotations

from dataclasses import dataclass

#: Kinds of repositories.
KINDS = ("model", "dataset", "space")
_NAMES = 2  # of a repository: owner and name


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A path in a repository."""

    repository: str  # "owner/name"
    path: str  # every file whose path begins so is meant
    revision: str | None = None
    kind: str = "model"


def hub_place(text: str) -> HubPlace | None:
    """Return the place that a text names; None of a text that names none."""
    body, *rest = text.split(":")
    words = body.split("/", _NAMES)
    revision, kind = ([*rest, "", ""])[:2]
    kind = kind or "model"
    if len(words) <= _NAMES or not all(words) or len(rest) > _NAMES or kind not in KINDS:
        return None
    return HubPlace("/".join(words[:_NAMES]), words[_NAMES].rstrip("/"), revision or None, kind)
