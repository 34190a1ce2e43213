"""The whole way of `loracore cache`: data, then the caches on disk, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pluggy

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import DataOptions, ProcessOptions
from loracore.data.reading import reading_of
from loracore.data.scanning import scan
from loracore.training.assembly.assembling import ready_data
from loracore.training.assembly.network_weights import read_network_weights
from loracore.training.assembly.plan import Plan, choose_seed
from loracore.training.assembly.rehearsing import rehearse
from loracore.training.failing_together import failing_together
from loracore.training.processes import Processes, join_processes


def fill_caches(
    config: Config, plugins: pluggy.PluginManager, datasets: Sequence[DatasetSpec], notes: Sequence[str] = ()
) -> tuple[str, ...]:
    """Fill the caches that a run with these options would read, and return what came of it, a line each.

    Raises LoracoreError for data and models that cannot be used, and for a disk that cannot hold the caches.
    """
    processes = join_processes(config[ProcessOptions])
    with failing_together(processes):
        return _filled(config, plugins, datasets, notes, processes)


def _filled(
    config: Config,
    plugins: pluggy.PluginManager,
    datasets: Sequence[DatasetSpec],
    notes: Sequence[str],
    processes: Processes,
) -> tuple[str, ...]:
    seed = choose_seed(config, processes)
    config = config.with_datasets(datasets)
    weights, left_out = read_network_weights(config)
    scanned = scan(datasets, reading_of(config, seed), show=processes.main)
    told = [*notes, *left_out, *scanned.training.warnings]
    plan = rehearse(Plan(config, plugins.hook, processes, seed, datasets, scanned, weights, told))
    on_disk = replace(config[DataOptions], cache_latents_to_disk=True, cache_text_encoder_outputs_to_disk=True)
    plan = replace(plan, config=config.with_table(on_disk))  # only now: it demands no cache that the run cannot have
    ready = ready_data(plan)  # in every process: each encodes its share
    return (*plan.notes, *ready.notes, *_uncached(plan)) if processes.main else ()


def _uncached(plan: Plan) -> Iterator[str]:
    """Give the text encoders that a run with these options asks in every step, so that there is nothing to keep."""
    if plan.text.live:
        adapted = "the text encoders" if "text" in plan.text.live else ", ".join(plan.text.live)
        yield f"captions: not cached for {adapted}, whose adapters change what they say"
