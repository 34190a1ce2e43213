"""Draws pictures of the prompts: before the first step, every n epochs, or every n steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore import hookimpl
from loracore.config.options import PreviewOptions

if TYPE_CHECKING:
    from loracore.training.previews.moments import Moment
    from loracore.training.run import Run


@hookimpl(trylast=True)
def run_started(run: Run) -> None:
    """Draw before the first step, with ``sample_at_first``; a run that is resumed is past it."""
    if run.config[PreviewOptions].sample_at_first and not run.start.taken:
        from loracore.training.previews.moments import Moment

        _draw(run, Moment("first", 0, 0))


@hookimpl(trylast=True)
def step_done(run: Run, step: int) -> None:
    """Draw where it is due."""
    from loracore.training.previews.moments import due_moment

    moment = due_moment(run.config[PreviewOptions], run.length, step)
    if moment is not None:
        _draw(run, moment)


def _draw(run: Run, moment: Moment) -> None:
    from loracore.training.previews.drawing import draw_previews

    if run.watch.previews is not None:
        draw_previews(run, run.watch.previews, moment)
