"""A picture of how much a network changes each block of the model: bars, one panel for each part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loracore.weights.inspect.inspecting import BlockNorm, Inspection

_BAR = 0.24  # inches of a bar and the room around it
_WIDTH = 4.6  # inches of a panel
_LETTERS = 32  # of a label


def norm_picture(inspection: Inspection) -> bytes:
    """Return the picture as PNG; blocks stand in the order of the model, the first one on top."""
    blocks = inspection.blocks()
    parts = {block.part: [one for one in blocks if one.part == block.part] for block in blocks}
    tallest = max((len(found) for found in parts.values()), default=1)
    figure = Figure(figsize=(max(_WIDTH * len(parts), 6.0), 2.0 + _BAR * tallest), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{inspection.path.name}: change of the weights by block", parse_math=False)
    for number, (part, found) in enumerate(parts.items(), start=1):
        _draw(figure.add_subplot(1, len(parts), number), part, found, tallest)
    handles, labels = figure.axes[0].get_legend_handles_labels() if figure.axes else ([], [])
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    written = BytesIO()
    figure.savefig(written, dpi=110, format="png")
    return written.getvalue()


def _draw(axes: Axes, part: str, blocks: Sequence[BlockNorm], tallest: int) -> None:
    places = range(len(blocks))
    axes.barh(places, [block.norm for block in blocks], color="#7ea6d8", height=0.75, label="all modules of the block")
    axes.plot(
        [block.largest for block in blocks], places, "o", color="#1f4e8c", markersize=4, label="its largest module"
    )
    axes.set_yticks(places, [_label(block.block, blocks) for block in blocks], fontsize=8, parse_math=False)
    axes.set_ylim(tallest - 0.4, -0.6)  # bars of all panels are equally thick
    axes.set_xlim(left=0)
    axes.set_xlabel("‖ΔW‖ (Frobenius)")
    axes.set_title(f"{part or 'network'} ({sum(block.modules for block in blocks)} modules)", parse_math=False)
    axes.grid(axis="x", alpha=0.3)


def _label(block: str, blocks: Sequence[BlockNorm]) -> str:
    """Return a block's name without the words that all of its part begin with, its end where it is long."""
    stems = {re.sub(r"[._]?\d+$", "", one.block) for one in blocks}
    last = re.search(r"[^._]+[._]\d+$", block)
    shown = last[0] if last is not None and len(stems) == 1 and len(blocks) > 1 else block
    return shown if len(shown) <= _LETTERS else f"…{shown[1 - _LETTERS :]}"
