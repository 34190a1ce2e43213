"""The loss curve of a run, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WINDOW = 25  # steps that the smooth line averages over


def draw_curve(losses: Sequence[float], path: Path) -> None:
    """Write the losses of all steps and their running mean."""
    figure = Figure(figsize=(8, 4), layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(range(1, len(losses) + 1), losses, color="#b8c4d6", linewidth=0.8, label="each step")
    means = running_mean(losses, WINDOW)
    axes.plot(range(len(losses) - len(means) + 1, len(losses) + 1), means, color="#1f4e8c", label=f"mean of {WINDOW}")
    axes.set(xlabel="step", ylabel="loss", title="training loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def running_mean(losses: Sequence[float], window: int) -> list[float]:
    """Return the mean of every ``window`` neighbours; of all of them when there are fewer."""
    width = min(window, len(losses))
    return [sum(losses[end - width : end]) / width for end in range(width, len(losses) + 1)] if width else []
