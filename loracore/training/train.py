"""The whole way of `loracore train`: data, output folder, phases, loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pluggy

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import SavingOptions
from loracore.data.reading import reading_of
from loracore.data.scan_messages import be, counted
from loracore.data.scanning import scan
from loracore.training.assembling import Plan, assemble_run, choose_seed, rehearse
from loracore.training.loop import train_loop
from loracore.training.network_weights import read_network_weights
from loracore.training.outputs import guarded, result_files
from loracore.training.processes import join_processes


def train(
    config: Config, plugins: pluggy.PluginManager, datasets: Sequence[DatasetSpec], notes: Sequence[str] = ()
) -> Path | None:
    """Train as the options say and return the path of the final file, None in all processes but the main one.

    Raises LoracoreError for data, models and folders that cannot be used, before anything is loaded wherever the
    fault can be seen by then.
    """
    processes = join_processes()
    files = result_files(config[SavingOptions])
    seed = choose_seed(config, processes)
    config = config.with_datasets(datasets)
    weights, left_out = read_network_weights(config)
    hold = guarded(files, overwrite=config[SavingOptions].overwrite) if processes.main else nullcontext()
    with hold:
        scanned = scan(datasets, reading_of(config, seed), show=processes.main)
        notes = [*notes, *left_out, *scanned.training.warnings, *_held_out(len(scanned.validation))]
        plan = Plan(config, plugins.hook, processes, seed, datasets, scanned, weights, notes)
        train_loop(assemble_run(rehearse(plan), files))
    return files.final if processes.main else None


def _held_out(count: int) -> Sequence[str]:
    """Return what is said of pictures that are not trained on."""
    if not count:
        return ()
    are = f"{counted(count, 'picture')} {be(count)}"
    return (f"{are} held out by validation_split; this version computes no validation loss",)
