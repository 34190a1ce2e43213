"""What a run's events tell, put together: curves as arrays, the rest as they came."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]

#: Kinds of events that the page shows one by one.
_KEPT = frozenset({"validation", "saved", "save_failed", "preview", "preview_failed", "note", "skipped"})


@dataclass(eq=False, slots=True)
class Story:
    """A run, as far as it still counts: steps that a resumed run took again are those of the resumed run."""

    starts: list[Event] = field(default_factory=list)
    steps: array[int] = field(default_factory=lambda: array("q"))
    losses: array[float] = field(default_factory=lambda: array("d"))  # like steps; NaN where not finite
    averages: array[float] = field(default_factory=lambda: array("d"))
    rates: dict[str, array[float]] = field(default_factory=dict)  # by parameter group, each like steps
    kept: list[Event] = field(default_factory=list)
    finished: Event | None = None

    def of(self, kind: str) -> list[Event]:
        """Return the events of a kind, in their order."""
        return [event for event in self.kept if event["kind"] == kind]

    @property
    def last_step(self) -> int:
        return self.steps[-1] if self.steps else 0

    def hear(self, event: Event) -> None:
        """Take in the next event."""
        kind = event["kind"]
        if kind == "started":
            self._go_back(event["step"] if event.get("resumed") else 0)
            self.starts.append(event)
        elif kind == "step":
            self._step(event)
        elif kind == "finished":
            self.finished = event
        elif kind in _KEPT:
            self.kept.append(event)

    def _step(self, event: Event) -> None:
        if event["step"] <= self.last_step:
            return
        number = len(self.steps)
        self.steps.append(event["step"])
        self.losses.append(_number(event.get("loss")))
        self.averages.append(_number(event.get("average")))
        rates = event.get("lr") or {}
        for group in [name for name in rates if name not in self.rates]:
            self.rates[group] = array("d", [math.nan] * number)
        for group, course in self.rates.items():
            course.append(_number(rates.get(group)))

    def _go_back(self, step: int) -> None:
        """Forget what lies behind a step that the run is resumed from; everything when it starts anew."""
        length = bisect_right(self.steps, step)
        del self.steps[length:]
        for course in (self.losses, self.averages, *self.rates.values()):
            del course[length:]
        self.kept = [event for event in self.kept if 0 < step >= event["step"]]
        self.starts = self.starts if step else []
        self.finished = None


def tell_story(events: Iterable[Event]) -> Story:
    """Put the events of a run together."""
    story = Story()
    for event in events:
        story.hear(event)
    return story


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
