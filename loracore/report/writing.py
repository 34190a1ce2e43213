"""From the events of a run to its page on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from loracore.report.page import page
from loracore.report.reading import read_events
from loracore.report.story import tell_story

REPORT_NAME = "report.html"


def write_report(events: Path, target: Path | None = None) -> Path:
    """Write the page of these events, beside them unless ``target`` says where, and return its path.

    An older page is replaced as a whole or not at all. Raises DataError for events that cannot be read, and OSError
    for a page that cannot be written.
    """
    target = target or events.parent / REPORT_NAME
    text = page(tell_story(read_events(events)), events.parent)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target
