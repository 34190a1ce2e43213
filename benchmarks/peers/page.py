"""What was measured, as JSON and as a Markdown table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.blocks import Block, Ratio, middle
from benchmarks.peers.comparing import Comparison
from benchmarks.peers.gate import Gate

_GIB = 2**30


def write_page(folder: Path, title: Sequence[str], comparisons: Sequence[Comparison]) -> str:
    """Write peers.json and peers.md, and return the page; ``title`` are the lines that say what was done where."""
    page = "\n".join([*title, "", *(table(one) for one in comparisons)])
    listed = [{**asdict(one), "clock": asdict(one.clock), "processor": asdict(one.processor)} for one in comparisons]
    found = json.dumps({"title": list(title), "comparisons": listed}, indent=1)
    (folder / "peers.json").write_text(found, encoding="utf-8")
    (folder / "peers.md").write_text(page, encoding="utf-8")
    return page


def table(found: Comparison) -> str:
    """Return a comparison as a table, medians of medians, and the gate below it."""
    ours, theirs, steps = found.ours, found.theirs, len(found.ours[0].losses)
    rows = [
        f"| | ours | {found.peer} | ratio (pairs) |",
        "| --- | ---: | ---: | ---: |",
        f"| ms a step, on the clock | {_ms(ours, 'clock')} | {_ms(theirs, 'clock')} | {_shown(found.clock)} |",
        f"| ms a step, processor | {_ms(ours, 'processor')} | {_ms(theirs, 'processor')} | {_shown(found.processor)} |",
    ]
    if ours[0].device:
        rows.append(f"| ms a step, on the device's clock | {_ms(ours, 'device')} | {_ms(theirs, 'device')} | |")
    rows += [
        f"| s from the start to the end of the first step | {_span(ours, 'first')} | {_span(theirs, 'first')} | |",
        f"| s from the start to the end of step {steps} | {_span(ours, 'last')} | {_span(theirs, 'last')} | |",
        f"| peak memory, GiB | {_peak(ours)} | {_peak(theirs)} | |",
    ]
    one = found.gate
    said = "the same work" if one.passed else "**not the same work**"
    apart = f"Losses differ by at most {one.step:.2e} of a step's and {one.mean:.2e} of their mean"
    rows += [
        "",
        f"Gate: {said}. {apart}; {_gradients(one)}.",
        f"Before, between and behind the pairs: {'; '.join(found.busyness)}.",
        "",
    ]
    return "\n".join(rows)


def _gradients(gate: Gate) -> str:
    found = gate.gradient
    return f"the first gradients' cosine is {found.cosine:.6f}, theirs is {found.length:.6f} times as long"


def _ms(blocks: Sequence[Block], name: str) -> str:
    return f"{1e3 * middle([getattr(one, name) for one in blocks]):.2f}"


def _span(blocks: Sequence[Block], name: str) -> str:
    return f"{statistics.median(getattr(one, name) for one in blocks):.1f}"


def _peak(blocks: Sequence[Block]) -> str:
    shown = f"{max(one.peak for one in blocks) / _GIB:.2f}"
    reserved = [one.reserved for one in blocks if one.reserved is not None]
    return f"{shown} ({max(reserved) / _GIB:.2f} reserved)" if reserved else shown


def _shown(ratio: Ratio) -> str:
    return f"{ratio.middle:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"
