"""What every validation of a run reads: the same pictures, captions, noise and timesteps, each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from loracore.config.config import Config
from loracore.config.options import DataOptions, TrainingOptions, ValidationOptions
from loracore.data.index import Index
from loracore.data.loader import Loader
from loracore.data.sampler import MicroBatch, epoch_order
from loracore.data.visits import Draws, Visit

#: Every validation is this visit: what is drawn of captions is drawn once.
VISIT = Visit(epoch=0, turn=0, step=0)
TIMESTEPS = 4  # between the smallest and the largest


@dataclass(frozen=True, eq=False, slots=True)
class HeldOut:
    """The held-out pictures of a run, ready to be read."""

    loader: Loader
    batches: Sequence[MicroBatch]  # global: not yet shared between processes
    seed: int  # of noise and captions

    @property
    def images(self) -> int:
        """The number of pictures that one validation looks at."""
        return sum(len(batch.rows) for batch in self.batches)


def validation_seed(config: Config, seed: int) -> int:
    """Return the seed of what validations draw: the option, or the run's."""
    own = config[DataOptions].validation_seed
    return seed if own is None else own


def fixed_batches(index: Index, config: Config, seed: int, processes: int) -> list[MicroBatch]:
    """Return the global batches of every validation, ``max_validation_steps`` at most, in an order of the seed.

    Randomness is drawn from positions: here the rows of the index, so that a picture has the same noise whatever the
    size of the batches and the number of processes.
    """
    sizes = [dataset.batch_size for dataset in config.datasets]
    order = epoch_order(index, sizes, seed, 0, processes)
    count = min(len(order), config[ValidationOptions].max_validation_steps or len(order))
    return [replace(order[number], positions=order[number].rows) for number in range(count)]


def fixed_captions(index: Index, draws: Draws) -> Iterator[str]:
    """Give the text of every picture, as each validation reads it."""
    return (draws.caption(index.picture(row), VISIT) for row in range(len(index)))


def fixed_timesteps(training: TrainingOptions) -> list[int]:
    """Return the timesteps of every validation: four, evenly between the smallest and the largest, rounded down.

    The field's own: 200, 400, 600 and 800 for 0 to 1000. The bounds themselves, where nothing is to be learned or
    little is known, are left out.
    """
    low, high = training.min_timestep, training.max_timestep
    return [low + (high - low) * inner // (TIMESTEPS + 1) for inner in range(1, TIMESTEPS + 1)]
