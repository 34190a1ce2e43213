"""What a run is made of, by theme; what moves the network is ``Moving``."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from loracore.data.loader import Loader
from loracore.speed.speed import Speed
from loracore.training.previews.ready import Previews
from loracore.training.results.outputs import ResultFiles
from loracore.training.results.retention import Retention
from loracore.training.results.saving import Saver
from loracore.training.results.writing import BackgroundWriter
from loracore.training.steps.course import Course
from loracore.training.steps.history import History
from loracore.training.steps.step import Forward
from loracore.training.telling.event_log import EventLog
from loracore.training.telling.memory_use import MemoryUse
from loracore.training.telling.progress import Progress
from loracore.training.telling.trackers import Trackers
from loracore.training.uploading.uploads import Uploads
from loracore.training.validation.held_out import HeldOut
from loracore.training.validation.record import Record
from loracore.training.watchdogs.unmoved import Movement


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """From samples to losses, and what became of each step."""

    course: Course  # which samples make it
    loader: Loader
    forward: Forward
    history: History
    speed: Speed
    #: Set while batches of cached samples may be put together: in backward passes, which leave Python alone.
    loading: Event = field(default_factory=Event)


@dataclass(frozen=True, eq=False, slots=True)
class Results:
    """What the run leaves behind: files of networks, folders of states."""

    files: ResultFiles  # what they are called
    retention: Retention  # which of them go
    writer: BackgroundWriter
    saver: Saver | None  # in the main process alone
    uploads: Uploads


@dataclass(frozen=True, eq=False, slots=True)
class Outlets:
    """Where what becomes known is shown and kept."""

    progress: Progress
    log: EventLog
    trackers: Trackers
    memory: MemoryUse


@dataclass(frozen=True, eq=False, slots=True)
class Watch:
    """What is looked at while the network learns."""

    movement: Movement  # whether adapters move
    held_out: HeldOut | None  # what validations read; None: there are none
    validations: Record
    previews: Previews | None  # None: no prompts are drawn
