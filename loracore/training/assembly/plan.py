"""What is known of a run before anything is loaded."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pluggy
from torch import Tensor

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import ModelOptions, TrainingOptions
from loracore.config.prompts.prompt import Prompt
from loracore.data.scanning import Scanned
from loracore.training.assembly.phases import Loading
from loracore.training.assembly.text_split import ALL_CACHED, TextSplit
from loracore.training.processes import Processes, weight_dtype
from loracore.training.state.starting import Start
from loracore.types import Part


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """Options, data and plugins of a run, and where it begins."""

    config: Config
    hook: pluggy.HookRelay
    processes: Processes
    seed: int
    datasets: Sequence[DatasetSpec]
    scanned: Scanned
    weights: Mapping[str, Tensor] | None  # of network_weights
    notes: Sequence[str]
    start: Start = field(default_factory=Start)
    text: TextSplit = ALL_CACHED  # until the network is known
    prompts: tuple[Prompt, ...] = ()  # of previews; known with the network
    unchecked: frozenset[Part] = frozenset()  # parts whose files are looked at once something has to be encoded

    @property
    def loading(self) -> Loading:
        dtype = weight_dtype(self.config[ModelOptions].mixed_precision, self.processes.device)
        sharded, unchecked = self.processes.in_step, self.unchecked
        return Loading(self.hook, self.processes.device, dtype, self.config, sharded, unchecked=unchecked)


def choose_seed(config: Config, processes: Processes) -> int:
    """Return the run's seed: the option, or one drawn here and the same in every process."""
    seed = config[TrainingOptions].seed
    return processes.agree(random.SystemRandom().randrange(2**31)) if seed is None else seed
