"""Which curves of a run a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loracore.report.charts import Curve, chart
from loracore.report.story import Story

_MOST_CURVES = 6  # learning rates beyond these are in events.jsonl alone


def all_charts(story: Story) -> Iterator[str]:
    """Give the charts of a run: loss, learning rates, validation, validation by timestep."""
    skipped = [event["step"] for event in story.of("skipped")]
    losses = [
        Curve("loss of each step", story.steps, story.losses, faint=True),
        Curve("average of an epoch", story.steps, story.averages),
    ]
    yield chart("Loss", losses, skipped, "skipped step")
    yield chart("Learning rate", rate_curves(story))
    checks = story.of("validation")
    yield chart("Validation loss", _validation(checks))
    yield chart("Validation loss by timestep", _bands(checks))


def rate_curves(story: Story) -> list[Curve]:
    """Return the learning rates, one curve for all groups whose rates are the same throughout."""
    alike: dict[bytes, list[str]] = {}
    for group, course in story.rates.items():
        alike.setdefault(course.tobytes(), []).append(group)
    curves = [Curve(_names(groups), story.steps, story.rates[groups[0]]) for groups in alike.values()]
    return curves[:_MOST_CURVES]


def _names(groups: Sequence[str]) -> str:
    most = 3
    return ", ".join(groups[:most]) + (f" and {len(groups) - most} more" if len(groups) > most else "")


def _validation(checks: Sequence[Mapping[str, Any]]) -> list[Curve]:
    curves = []
    for scope, name in (("step", "after some steps"), ("epoch", "after an epoch")):
        events = [event for event in checks if event.get("scope") == scope]
        losses = [_loss(event.get("loss")) for event in events]
        curves.append(Curve(name, [event["step"] for event in events], losses, dotted=True))
    return [curve for curve in curves if curve.xs]


def _bands(checks: Sequence[Mapping[str, Any]]) -> list[Curve]:
    names = dict.fromkeys(band for event in checks for band in event.get("bands") or {})
    return [
        Curve(
            f"timestep {band}",
            [event["step"] for event in checks],
            [_loss((event.get("bands") or {}).get(band)) for event in checks],
            dotted=True,
        )
        for band in names
    ]


def _loss(value: float | None) -> float:
    return float("nan") if value is None else float(value)
