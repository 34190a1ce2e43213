"""An assembled run: what the loop steps through and what plugins are told about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy
from torch.optim import Optimizer

from loracore.config.config import Config
from loracore.config.options import ModelOptions, SavingOptions
from loracore.data.loader import Loader
from loracore.networks.network import Network
from loracore.training.checkpoints import save_dtype, write_network
from loracore.training.course import Course
from loracore.training.history import History
from loracore.training.length import Length
from loracore.training.metadata import ModelHashes, moment_metadata, without_details
from loracore.training.outputs import ResultFiles
from loracore.training.processes import Processes
from loracore.training.progress import Progress
from loracore.training.step import Forward
from loracore.training.updates.adafactor import RelativeSteps
from loracore.training.updates.fused_updates import FusedUpdates
from loracore.training.updates.moving import trained_dtype
from loracore.training.updates.schedules import Schedule
from loracore.training.updates.whole_updates import Updates


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
    schedule: Schedule | RelativeSteps
    updates: Updates | FusedUpdates
    history: History
    progress: Progress
    files: ResultFiles
    metadata: Mapping[str, str]  # the same for every file of the run
    hashes: Sequence[ModelHashes]  # of the base model and of what stands in the place of its parts
    resolution: tuple[int, int]
    started: float  # seconds since the epoch
    notes: Sequence[str]  # one line each for the header

    def save(self, step: int, epoch: int, name: Path) -> None:
        """Write the network as it is after ``step``; nothing is written before every step up to it is known."""
        self.history.settle()
        if not self.processes.main:
            return
        saving = self.config[SavingOptions]
        moment = moment_metadata(self.config, step, epoch, self.started, self.resolution)
        models = {name: value for one in self.hashes for name, value in one.metadata().items()}
        metadata = {**moment, **models, **self.metadata}
        tensors = self.network.file_tensors(save_dtype(saving.save_precision, trained_dtype(self.config[ModelOptions])))
        write_network(name, tensors, without_details(metadata) if saving.no_metadata else metadata)
