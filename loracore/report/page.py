"""The page of a run: what happened, curves, previews, files, options, environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from loracore.report.curves import all_charts
from loracore.report.pictures import preview_grid
from loracore.report.story import Story
from loracore.report.style import SCRIPT, STYLE
from loracore.report.tables import environment_table, files_table, options_tables

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_MOST_LINES = 200  # of notes and of skipped steps


def page(story: Story, folder: Path) -> str:
    """Return the whole page as HTML that loads nothing; ``folder`` is that of the events."""
    start: Mapping[str, Any] = story.starts[-1] if story.starts else {}
    title = _title(start, folder)
    parts = [
        _head(story, title, start),
        f'<div class="charts">{"".join(all_charts(story))}</div>',
        _section("Previews", preview_grid(story.of("preview"), folder)),
        _section("What happened", _list(_told(story, start))),
        _section("Files", files_table([*story.of("saved"), *story.of("save_failed")])),
        _section("Options", options_tables(start)),
        _section("Environment", environment_table(story.starts)),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main>"
        f"<footer>Made by loracore from events.jsonl; this page loads nothing from anywhere.</footer>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _title(start: Mapping[str, Any], folder: Path) -> str:
    name = start.get("config", {}).get("output_name")
    return f"Training of {name or folder.name.removesuffix('-log')}"


def _head(story: Story, title: str, start: Mapping[str, Any]) -> str:
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _facts(story, start)
    )
    config = start.get("config", {})
    words = [config.get("arch"), config.get("network_module"), config.get("pretrained_model_name_or_path")]
    lead = " · ".join(str(word) for word in words if word)
    return f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p><dl class="facts">{facts}</dl></header>'


def _facts(story: Story, start: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    steps = start.get("length", {}).get("steps")
    yield "steps", f"{story.last_step}" + (f" of {steps}" if steps else "")
    if story.averages:
        yield "average loss at the end", f"{story.averages[-1]:.4f}"
    finite = [event["loss"] for event in story.of("validation") if event.get("loss") is not None]
    if finite:
        yield "least validation loss", f"{min(finite):.4f}"
    skipped = len(story.of("skipped"))
    if skipped:
        yield "skipped steps", str(skipped)
    if story.finished is None:
        yield "ended", "not yet, or killed"
    else:
        yield "ended", str(story.finished.get("reason", ""))
        yield "took", _duration(story.finished.get("seconds"))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{left} s"


def _told(story: Story, start: Mapping[str, Any]) -> Iterator[str]:
    """Give lines on what was noticed, skipped or went wrong."""
    yield from (escape(str(note)) for note in start.get("notes", ()))
    for event in story.kept:
        step, kind = event["step"], event["kind"]
        if kind == "note":
            yield f"step {step}: {escape(str(event.get('text')))}"
        elif kind == "skipped":
            names = escape(", ".join(map(str, event.get("ids", ()))))
            yield f'<span class="alert">step {step} was skipped</span>: loss or gradient was not finite ({names})'
        elif kind in {"save_failed", "preview_failed"}:
            what = "could not be saved" if kind == "save_failed" else "preview could not be drawn"
            about = f"{event.get('path', '')} {what}: {event.get('message')}"
            yield f'<span class="alert">step {step}</span>: {escape(about)}'


def _list(lines: Iterator[str]) -> str:
    found = list(lines)
    more = [f"and {len(found) - _MOST_LINES} more"] if len(found) > _MOST_LINES else []
    items = "".join(f"<li>{line}</li>" for line in [*found[:_MOST_LINES], *more])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""
