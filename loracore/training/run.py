"""An assembled run: what the loop steps through and what plugins are told about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pluggy
from torch.optim import Optimizer

from loracore.config.config import Config
from loracore.data.loader import Loader
from loracore.errors import LoracoreError
from loracore.networks.network import Network
from loracore.training.metadata import Session
from loracore.training.previews.ready import Previews
from loracore.training.processes import Processes
from loracore.training.results.outputs import ResultFiles
from loracore.training.results.retention import Retention
from loracore.training.results.saving import Reason, Save, Saver
from loracore.training.results.writing import BackgroundWriter
from loracore.training.state.saving import save_state
from loracore.training.steps.control import Control
from loracore.training.steps.course import Course
from loracore.training.steps.ema import Ema
from loracore.training.steps.history import History
from loracore.training.steps.length import Length
from loracore.training.steps.step import Forward
from loracore.training.telling.event_log import EventLog
from loracore.training.telling.progress import Progress
from loracore.training.telling.trackers import Trackers
from loracore.training.updates.adafactor import RelativeSteps
from loracore.training.updates.fused_updates import FusedUpdates
from loracore.training.updates.schedules import ClassSchedule, Schedule
from loracore.training.updates.whole_updates import Updates
from loracore.training.uploading.uploads import Uploads
from loracore.training.validation.held_out import HeldOut
from loracore.training.validation.record import Record
from loracore.training.watchdogs.not_finite import check_adapters
from loracore.training.watchdogs.unmoved import Movement
from loracore.types import Event


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """Everything of one run, built once; only the network, the optimizer and the history change."""

    config: Config
    hook: pluggy.HookRelay
    processes: Processes
    seed: int
    length: Length
    course: Course
    loader: Loader
    forward: Forward
    network: Network
    optimizer: Optimizer
    schedule: Schedule | ClassSchedule | RelativeSteps
    updates: Updates | FusedUpdates
    history: History
    progress: Progress
    control: Control
    movement: Movement
    uploads: Uploads
    writer: BackgroundWriter
    log: EventLog
    trackers: Trackers
    held_out: HeldOut | None  # what validations read; None: there are none
    previews: Previews | None  # None: no prompts are drawn
    validations: Record
    files: ResultFiles
    retention: Retention
    saver: Saver | None  # in the main process alone
    ema: Ema | None
    session: Session
    notes: Sequence[str]  # one line each for the header
    taken: int  # steps before the first of this process's life: of the run that is resumed, or left out
    resumed: bool  # goes on from a state; else it is a run of its own, whatever was left out
    identity: Mapping[str, Any]  # of data and models, as states know it

    def tell(self, kind: str, step: int, **values: Any) -> None:
        """Tell the plugins of something that has become known; in the main process alone."""
        if self.processes.main:
            self.hook.happened(run=self, event=Event(kind, step, values))

    @contextmanager
    def weights_to_read(self) -> Iterator[None]:
        """Have the adapters hold what is saved, shown and validated, as long as this lasts: their moving average.

        Of a schedule-free optimizer it is the optimizer's own average, unless there is another one (``use_ema``).
        """
        average = nullcontext() if self.ema is None else self.ema.in_place()
        with self.updates.weights_to_read(), average:
            yield

    def save_state(self, step: int, epoch: int, path: Path, reason: str) -> None:
        """Save the state as it is behind ``step``, in the background; every process calls this between two steps."""
        save_state(self, step, epoch, path, reason)

    def save(self, step: int, epoch: int, name: Path, reason: Reason, gone: tuple[Path, ...] = ()) -> None:
        """Write the network as it is after ``step``, while training goes on; told as "saved" or "save_failed".

        Anyone may call it, the main process writes. ``reason`` is "step", "epoch", "final", "best" or "stop"; ``epoch``
        (1-based) is the one that the step belongs to. Files that are ``gone`` are removed when this one stands.
        """
        if self.saver is not None:
            save = Save(name, step, epoch, reason, gone)
            with self.updates.weights_to_read():
                self.saver.save(save, self.ema, partial(self._saved, save))

    def _saved(self, save: Save, error: LoracoreError | None) -> None:
        """Tell what became of a file."""
        path, what = str(save.path), "network"
        if error is None:
            self.tell("saved", save.step, path=path, what=what, reason=save.reason, epoch=save.epoch)
            if self.saver is not None and self.saver.widened(save.path):
                text = f"{path}: weights are beyond the range of save_precision; it is written as trained"
                self.tell("note", save.step, text=text)
        else:
            self.tell("save_failed", save.step, path=path, what=what, message=str(error))
            check_adapters(self, save.step, save.path)
