"""The data sets that can be looked at although something is wrong with what was written of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from loracore.config.config import Config
from loracore.config.dataset_building import build_dataset
from loracore.config.dataset_notes import dataset_notes
from loracore.config.dataset_problems import dataset_problems
from loracore.config.dataset_reading import read_written
from loracore.config.dataset_sources import find_source
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.dataset_tables import DatasetTables, Table
from loracore.config.options import DataOptions
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class SoundDatasets:
    """What can be read of a data-set file with mistakes."""

    datasets: tuple[DatasetSpec, ...]
    left: tuple[str, ...]  # places of the data sets of which too little is known


def sound_datasets(config: Config, document: TomlFile | None) -> SoundDatasets:
    """Return the data sets as far as they can be read: a key in which something is wrong counts as not given.

    For looking at pictures in spite of mistakes, which ``read_datasets`` tells. Nothing is raised.
    """
    try:
        source = find_source(config, document)
    except ConfigError:
        return SoundDatasets((), ())
    found = [_with_pictures(dataset) for dataset in read_written(source, config, _sound).datasets]
    known = [dataset for dataset in found if dataset.subsets and not _size_problems(dataset, config)]
    built = tuple(_built(dataset, config) for dataset in known)
    return SoundDatasets(built, tuple(dataset.place for dataset in found if dataset not in known))


def _size_problems(dataset: DatasetTables, config: Config) -> tuple[Problem, ...]:
    """Return what is wrong with the sizes: whatever else contradicts itself, pictures can be looked at."""
    return tuple(dataset_problems(replace(dataset, subsets=()), config))


def _built(dataset: DatasetTables, config: Config) -> DatasetSpec:
    spec = build_dataset(dataset, config[DataOptions])
    return replace(spec, warnings=(*spec.warnings, *dataset_notes(spec, dataset)))


def _with_pictures(dataset: DatasetTables) -> DatasetTables:
    """Return a data set without the subsets that name no pictures."""
    named = (subset for subset in dataset.subsets if subset.has("image_dir") or subset.has("metadata_file"))
    return replace(dataset, subsets=tuple(named))


def _sound(table: Table) -> Table:
    """Return a table as if what is wrong in it did not stand there."""
    return replace(table, given=tuple(table.values), problems=())
