"""An assembled run: what the loop steps through and what plugins are told about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pluggy

from loracore.config.config import Config
from loracore.config.options import TrainingOptions
from loracore.errors import LoracoreError
from loracore.networks.network import Network
from loracore.training.processes import Processes
from loracore.training.results.saving import Reason, Save
from loracore.training.run_parts import Outlets, Results, Steps, Watch
from loracore.training.state.content import Resumable, package_versions, state_content
from loracore.training.state.saving import write_sound_state
from loracore.training.state.starting import Start
from loracore.training.steps.control import Control
from loracore.training.steps.history import StepRecord
from loracore.training.steps.length import Length
from loracore.training.updates.moving import Moving
from loracore.training.watchdogs.not_finite import check_adapters
from loracore.training.watchdogs.skipped import check_skipped
from loracore.types import Event


def _nothing() -> None:
    pass


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """Everything of one run, built once; what changes with its steps does so inside of what stands here.

    Nothing that a run is made of knows the run: the arrows go one way. docs/plugins.md lists what of it plugins may
    rely on; what says "For the core" they may not.
    """

    config: Config
    hook: pluggy.HookRelay  # for the core
    processes: Processes
    seed: int
    notes: Sequence[str]  # one line each for the header
    start: Start
    length: Length
    network: Network
    steps: Steps
    moving: Moving
    results: Results
    outlets: Outlets
    watch: Watch
    control: Control

    def tell(self, kind: str, step: int, **values: Any) -> None:
        """Tell the plugins of something that has become known; in the main process alone."""
        if self.processes.main:
            self.hook.happened(run=self, event=Event(kind, step, values))

    def tell_steps(self, records: Sequence[StepRecord]) -> None:
        """Tell of steps whose numbers have become known. For the core.

        Raises SkippedStepsError when too many in a row were skipped, NotFiniteError when that is since the adapters are
        worthless themselves.
        """
        for record in records:
            self.tell("step", record.step, **record.values())
            if record.skipped:
                self.tell("skipped", record.step, ids=list(record.bad_ids), epoch=record.epoch)
        if not records:
            return  # of a run that is resumed the count may be that of its last life
        most, history = self.config[TrainingOptions].max_skipped_steps, self.steps.history
        if history.in_a_row >= most:
            check_adapters(self.network, self.results.retention, records[-1].step)
        check_skipped(history, most)

    def settle(self) -> None:
        """Wait until every step that was taken is known, and tell of it; every process calls this. For the core."""
        self.tell_steps(self.steps.history.settle())

    def weights_to_read(self) -> AbstractContextManager[None]:
        """Have the adapters hold what is saved, shown and validated, as long as this lasts: their moving average.

        Of a schedule-free optimizer it is the optimizer's own average, unless there is another one (``use_ema``).
        """
        return self.moving.weights_to_read()

    def save(self, step: int, epoch: int, name: Path, reason: Reason, gone: tuple[Path, ...] = ()) -> None:
        """Write the network as it is after ``step``, while training goes on; told as "saved" or "save_failed".

        Anyone may call it, the main process writes. ``reason`` is "step", "epoch", "final", "best" or "stop"; ``epoch``
        (1-based) is the one that the step belongs to. Files that are ``gone`` are removed when this one stands.
        """
        if self.results.saver is not None:
            save = Save(name, step, epoch, reason, gone)
            with self.moving.updates.weights_to_read():
                self.results.saver.save(save, self.moving.ema, partial(self._saved, save))

    def save_state(
        self, step: int, epoch: int, path: Path, reason: Reason, then: Callable[[], None] = _nothing
    ) -> None:
        """Save the state as it is behind ``step``, in the background; every process calls this between two steps.

        The main one writes, and calls ``then`` when the state stands. Told as "saved", or as "save_failed" when it
        could not be written: the run goes on, and the state that was there before stays. Where the adapters are not
        finite NotFiniteError is raised when this becomes known.
        """
        self.settle()
        self.store_state(Save(path, step, epoch, reason), then)

    def store_state(self, save: Save, then: Callable[[], None] = _nothing) -> None:
        """Save the state when every step is known already; else as ``save_state`` does. For the core."""
        if self.processes.main:
            content = state_content(self.resumable, save.step, save.epoch)
            job = partial(write_sound_state, save.path, save.step, package_versions(self.config), content)
            self.results.writer.submit(job, save.path, partial(self._stored, save, then))

    @property
    def resumable(self) -> Resumable:
        """What of this run states hold. For the core."""
        moving, steps = self.moving, self.steps
        return Resumable(
            config=self.config,
            seed=self.seed,
            session=self.start.session,
            identity=self.start.identity,
            steps_per_epoch=self.length.steps_per_epoch,
            network=self.network,
            optimizer=moving.optimizer,
            parts={
                "schedule": moving.schedule,
                "updates": moving.updates,
                "history": steps.history,
                "validations": self.watch.validations,
                "retention": self.results.retention,
                **({} if moving.ema is None else {"ema": moving.ema}),
            },
        )

    def _saved(self, save: Save, error: LoracoreError | None) -> None:
        """Tell what became of a file."""
        saver = self.results.saver
        self._tell_saved("network", save, error)
        if error is None and saver is not None and saver.widened(save.path):
            text = f"{save.path}: weights are beyond the range of save_precision; it is written as trained"
            self.tell("note", save.step, text=text)

    def _stored(self, save: Save, then: Callable[[], None], error: LoracoreError | None) -> None:
        """Tell what became of a state."""
        self._tell_saved("state", save, error)
        if error is None:
            then()

    def _tell_saved(self, what: str, save: Save, error: LoracoreError | None) -> None:
        path = str(save.path)
        if error is None:
            self.tell("saved", save.step, path=path, what=what, reason=save.reason, epoch=save.epoch)
        else:
            self.tell("save_failed", save.step, path=path, what=what, message=str(error))
            check_adapters(self.network, self.results.retention, save.step, save.path)
