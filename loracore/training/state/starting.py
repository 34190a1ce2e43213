"""Where a run begins, decided when its data are known and nothing heavy is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Where a run begins."""

    taken: int | None  # steps of the run that is resumed; None: none is
    identity: Mapping[str, Any]  # of the data
    notes: tuple[str, ...]
    session: Session


def run_start(
    resumed: Resumed | None, config: Config, index: Index, datasets: Sequence[DatasetSpec], processes: int
) -> Start:
    """Return where the run begins; raises LoracoreError for a state of another run, and when no step remains."""
    identity = data_identity(index, datasets, processes)
    sizes = [dataset.batch_size for dataset in datasets]
    length = run_length(batches_per_epoch(index, sizes, processes), config[TrainingOptions])
    if resumed is None or resumed.content is None:
        steps_before(config, length)
        return Start(None, identity, () if resumed is None else resumed.notes, new_session())
    step = int(resumed.content["step"])
    own = {**identity, "models": model_identities(config)}
    notes = check_fits(resumed.content, config, own, str(resumed.path))
    check_step(step, length.steps, config)
    if step == length.steps:
        notes.append("the state is that of the last step: nothing is left to train, the final file is written")
    return Start(step, identity, (*resumed.notes, *notes), resumed.session or new_session())
