"""Tells TensorBoard, W&B and other trackers what happens, in the field's names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from loracore import Event, hookimpl
from loracore.errors import printable

if TYPE_CHECKING:
    from loracore.training.run import Run


@hookimpl(trylast=True)
def happened(run: Run, event: Event) -> None:
    """Pass the event on; a tracker that fails is said and never ends the run."""
    for line in run.outlets.trackers.tell(event):
        run.outlets.progress.say(printable(line), logging.WARNING)
