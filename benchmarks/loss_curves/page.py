"""What was found, as JSON, as a Markdown table, and as a drawing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.loss_curves.apart import Apart, Curve
from benchmarks.loss_curves.drawing import drawn
from benchmarks.loss_curves.settings import Setting


@dataclass(frozen=True, slots=True)
class Row:
    """A setting, and what came of it."""

    setting: Setting
    curve: Curve
    apart: Apart

    @property
    def passed(self) -> bool:
        """The setting is inside its gate."""
        return self.setting.limits.hold(self.apart)


@dataclass(frozen=True, slots=True)
class Found:
    """All that came of one model."""

    plain: Curve
    rows: Sequence[Row]
    idle: Sequence[str]  # settings that say that they change nothing here
    failed: Sequence[str]  # settings whose runs have ended with an error

    @property
    def passed(self) -> bool:
        """Every setting has run, and is inside its gate."""
        return not self.failed and all(row.passed for row in self.rows)


def write_page(folder: Path, title: Sequence[str], found: Found) -> str:
    """Write all files, and return the Markdown page; ``title`` are the lines that say what was done where."""
    page = "\n".join([*title, "", *table(found), ""])
    rows = [
        {
            "setting": row.setting.name,
            **asdict(row.apart),
            "limits": asdict(row.setting.limits),
            "passed": row.passed,
            "losses": row.curve.losses,
        }
        for row in found.rows
    ]
    told = {"title": list(title), "plain": found.plain.losses, "rows": rows}
    told |= {"without effect": list(found.idle), "failed": list(found.failed)}
    (folder / "loss_curves.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    (folder / "loss_curves.md").write_text(page, encoding="utf-8")
    picture = drawn(found.plain.losses, {row.setting.name: row.curve.losses for row in found.rows})
    (folder / "loss_curves.svg").write_text(picture, encoding="utf-8")
    return page


def table(found: Found) -> list[str]:
    """Return the lines of the table, limits in brackets, and below it what is not in it."""
    lines = [
        "| setting | a step's loss, at most | mean loss | of two seeds' difference | cosine | gate |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *(_line(row) for row in found.rows),
    ]
    if found.idle:
        lines += ["", f"Without effect on this model: {', '.join(found.idle)}."]
    if found.failed:
        lines += ["", f"**Failed**: {', '.join(found.failed)}."]
    return lines


def _line(row: Row) -> str:
    gate, limits = row.apart.gate, row.setting.limits
    cosine = f"{gate.gradient.cosine:.6f}" + ("" if limits.cosine is None else f" ({limits.cosine})")
    return (
        f"| {row.setting.name} | {gate.step:.1e} ({limits.step:.0e}) | {gate.mean:.1e} ({limits.mean:.0e}) "
        f"| {row.apart.share:.1e} ({limits.share}) | {cosine} | {'inside' if row.passed else '**missed**'} |"
    )
