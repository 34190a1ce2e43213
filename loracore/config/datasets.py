"""The run's data sets with every value looked up, checked together before a picture is touched."""

from __future__ import annotations

from dataclasses import replace

from loracore.config.config import Config
from loracore.config.dataset_building import build_dataset
from loracore.config.dataset_notes import dataset_notes, run_notes
from loracore.config.dataset_problems import dataset_problems, mask_problems, shape_problems
from loracore.config.dataset_reading import read_written
from loracore.config.dataset_sources import find_source
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import DataOptions
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError


def read_datasets(config: Config, document: TomlFile | None) -> tuple[DatasetSpec, ...]:
    """Return the data sets of ``dataset_config``, of the run's own file, of ``in_json``, or of ``train_data_dir``.

    Every value is looked up in its subset, its data set, [general], and the run's options, in this order. Raises
    ConfigError with everything that is wrong at once. What the whole run should know is said of the first data set.
    """
    source = find_source(config, document)
    written = read_written(source, config)
    tables = written.datasets
    without_masks = [subset for dataset in tables for subset in dataset.without_masks]
    problems = [
        *source.problems,
        *shape_problems(source),
        *written.run.problems,
        *written.general.problems,
        *mask_problems(without_masks, config),
        *(problem for dataset in tables for problem in dataset_problems(dataset, config)),
    ]
    if problems:
        raise ConfigError.of(problems)
    built = [build_dataset(dataset, config[DataOptions]) for dataset in tables]
    notes = [[*spec.warnings, *dataset_notes(spec, dataset)] for spec, dataset in zip(built, tables, strict=True)]
    notes[0] = [*source.warnings, *notes[0], *run_notes(built, tables, config)]
    return tuple(replace(spec, warnings=tuple(said)) for spec, said in zip(built, notes, strict=True))
