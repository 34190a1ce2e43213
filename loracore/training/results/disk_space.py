"""Whether what a run will write has room on the disk: an estimate, before anything is encoded or trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import ModelOptions, SavingOptions, StateOptions, TrainingOptions
from loracore.errors import LoracoreError
from loracore.networks.network import Network
from loracore.training.results.checkpoints import save_dtype
from loracore.training.results.retention import epochs_between
from loracore.training.steps.length import Length
from loracore.training.updates.moving import trained_dtype

MIB = 2**20


def check_room(network: Network, config: Config) -> None:
    """Raise LoracoreError when not even the final file has room; ``network`` may be on the meta device."""
    folder = config[SavingOptions].output_dir
    if folder is None:
        return
    size, free = file_bytes(network, config), free_bytes(Path(folder))
    if size > free:
        message = f"the disk has room for {free / MIB:.0f} MiB, and one file of this network takes {size / MIB:.0f}"
        raise LoracoreError(message, where=folder, fix="make room, or give another --output_dir")


def room_notes(network: Network, config: Config, length: Length) -> Iterator[str]:
    """Give a note when all that will be kept has no room; the run goes on, as others may make some meanwhile."""
    folder = config[SavingOptions].output_dir
    if folder is None:
        return
    files, states = kept_files(config, length), kept_states(config, length)
    needed = files * file_bytes(network, config) + states * state_bytes(network, config)
    free = free_bytes(Path(folder))
    if needed > free:
        kept = f"{files} files" + (f" and {states} states" if states else "")
        yield (
            f"{kept} will take about {needed / MIB:.0f} MiB, and {folder} has room for {free / MIB:.0f}: "
            "keep fewer (save_last_n_steps, save_last_n_epochs), or make room"
        )


def file_bytes(network: Network, config: Config) -> int:
    """Return the size of one file, without its header."""
    dtype = save_dtype(config[SavingOptions].save_precision, trained_dtype(config[ModelOptions]))
    return dtype.itemsize * _numbers(network)


def state_bytes(network: Network, config: Config) -> int:
    """Return about the size of one state: the network, two moments as most optimizers have, and the average."""
    return 4 * _numbers(network) * (4 if config[TrainingOptions].use_ema else 3)


def kept_files(config: Config, length: Length) -> int:
    """Return how many files stand at the same time at most, the final one and a new one's forerunner included."""
    saving = config[SavingOptions]
    return 1 + _kept(config, length, saving.save_last_n_epochs, saving.save_last_n_steps)


def kept_states(config: Config, length: Length) -> int:
    """Return how many states stand at the same time at most."""
    saving, states = config[SavingOptions], config[StateOptions]
    if not states.save_state:
        return int(states.save_state_on_train_end)
    epochs, steps = states.save_last_n_epochs_state, states.save_last_n_steps_state
    return 1 + _kept(
        config,
        length,
        saving.save_last_n_epochs if epochs is None else epochs,
        saving.save_last_n_steps if steps is None else steps,
    )


def free_bytes(folder: Path) -> int:
    """Return what the disk of a folder, which need not be there yet, has left."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def _kept(config: Config, length: Length, last_epochs: int | None, last_steps: int | None) -> int:
    saving = config[SavingOptions]
    found = 0
    every = epochs_between(saving, length.epochs)
    if every:
        written = (length.epochs - 1) // every
        found += min(written, last_epochs + 1) if last_epochs else written
    if saving.save_every_n_steps:
        written = length.steps // saving.save_every_n_steps
        found += min(written, last_steps // saving.save_every_n_steps + 2) if last_steps else written
    return found


def _numbers(network: Network) -> int:
    return sum(one.numel() for one in network.modules.parameters())
