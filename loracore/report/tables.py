"""The tables of a report: options, environment, files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

Event = Mapping[str, Any]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> str:
    """Return a table whose first column names its rows; empty without rows."""
    found = list(rows)
    if not found:
        return ""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = "".join(_row(row) for row in found)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def options_tables(start: Event) -> str:
    """Return what was given, and, folded away, what stands at its default."""
    config, given = start.get("config", {}), set(start.get("given", ()))
    named = [(name, shown(value)) for name, value in config.items() if name in given]
    rest = [(name, shown(value)) for name, value in config.items() if name not in given]
    folded = table(("option", "value"), rest, "Options that were not given")
    return table(("option", "value"), named, "Options that were given") + (
        f"<details><summary>{len(rest)} options at their defaults</summary>{folded}</details>" if folded else ""
    )


def environment_table(starts: Sequence[Event]) -> str:
    """Return where the run happened; a resumed run's last start tells, and every start is named."""
    found = dict(starts[-1].get("environment", {})) if starts else {}
    versions = found.pop("versions", {})
    rows = [
        (f"resumed at step {event['step']}" if event.get("resumed") else "started", _moment(event)) for event in starts
    ]
    rows += [(name, shown(value)) for name, value in found.items()]
    rows += [(name, shown(value)) for name, value in versions.items()]
    return table(("", ""), rows, "Environment")


def files_table(events: Sequence[Event]) -> str:
    """Return the files that were saved, and those that could not be."""
    rows = [
        (
            event.get("path", ""),
            event["step"],
            event.get("what", "network"),
            event.get("reason", event.get("message", "")),
        )
        for event in events
    ]
    return table(("file", "step", "what", "why"), rows, "Files")


def shown(value: object) -> str:
    """Return a value as a reader expects it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(row: Sequence[object]) -> str:
    cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{escape(str(row[0]))}</th>{cells}</tr>'


def _moment(event: Event) -> str:
    return datetime.fromtimestamp(event.get("time", 0), timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
