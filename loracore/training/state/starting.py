"""Where a run begins, decided when its data are known and nothing heavy is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import TrainingOptions
from loracore.data.index import Index
from loracore.data.sampler import batches_per_epoch
from loracore.training.metadata import Session, new_session
from loracore.training.state.fingerprint import data_identity
from loracore.training.state.fitting import check_fits, check_step
from loracore.training.state.models import model_identities
from loracore.training.state.resuming import Resumed, steps_before
from loracore.training.steps.length import run_length


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """Where a run begins, and what it is known by."""

    taken: int = 0  # steps before the first of this process's life: of the run that is resumed, or left out
    resumed: bool = False  # goes on from a state; else it is a run of its own, whatever was left out
    session: Session = field(default_factory=new_session)  # that of the run that is resumed
    identity: Mapping[str, Any] = field(default_factory=dict)  # of data and models, as states know it


def run_start(
    resumed: Resumed | None, config: Config, index: Index, datasets: Sequence[DatasetSpec], processes: int
) -> tuple[Start, tuple[str, ...]]:
    """Return where the run begins, and notes; raises LoracoreError for another run's state, and when no step remains.

    Models are among its identity where they had to be compared.
    """
    identity = data_identity(index, datasets, processes)
    sizes = [dataset.batch_size for dataset in datasets]
    length = run_length(batches_per_epoch(index, sizes, processes), config[TrainingOptions])
    if resumed is None or resumed.content is None:
        taken = steps_before(config, length)
        return Start(taken, identity=identity), () if resumed is None else resumed.notes
    step = int(resumed.content["step"])
    own = {**identity, "models": model_identities(config)}
    notes = check_fits(resumed.content, config, own, str(resumed.path))
    check_step(step, length.steps, config)
    if step == length.steps:
        notes.append("the state is that of the last step: nothing is left to train, the final file is written")
    session = resumed.session or new_session()
    return Start(step, resumed=True, session=session, identity=own), (*resumed.notes, *notes)
