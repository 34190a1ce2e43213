"""What changes a run's encoded captions, and stands in no other tool's file of them."""

from __future__ import annotations

from loracore.config.config import Config
from loracore.types import TextFile
from loracore.weights.merge.base_weights import changes_text


def unrecorded_options(config: Config, layout: TextFile) -> tuple[str, ...]:
    """Return the options, by name, that make captions other than such a file has them, and that it knows nothing of.

    Its arrays tell some by their lengths and flags; the others count where they are not at their defaults.
    """
    told = {*layout.flags, *layout.recorded}
    merged = ("base_weights",) if changes_text(config) else ()
    return (*merged, *(name for name in config.changed("text") if name not in told))


def unrecorded_note(count: int, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is said of files that could have been taken but for these options."""
    if not count:
        return ()
    names = ", ".join(options)
    return (f"{count} .npz files of captions beside the pictures are left aside: they know nothing of {names}",)
