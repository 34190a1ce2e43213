"""A source's tables as data sets: each table checked, and the layers in which its values are looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loracore.config.config import Config
from loracore.config.dataset_problems import as_table, as_tables
from loracore.config.dataset_sources import Source
from loracore.config.dataset_tables import DatasetTables, Layers, Table, check_table, run_names, run_table


@dataclass(frozen=True, slots=True)
class Written:
    """Everything that a source and the run's options say of data sets."""

    run: Table
    general: Table
    datasets: tuple[DatasetTables, ...]


def _as_checked(table: Table) -> Table:
    return table


def read_written(source: Source, config: Config, taken: Callable[[Table], Table] = _as_checked) -> Written:
    """Return the tables of a source, each checked; ``taken`` says what is made of one before values are looked up."""
    names, values = run_names(config), source.values
    run = taken(run_table(config))
    general = taken(check_table(as_table(values.get("general")), "general", source.placed("general"), names))
    found: list[DatasetTables] = []
    for row, dataset in enumerate(as_tables(values.get("datasets"))):
        own = {name: value for name, value in dataset.items() if name != "subsets"}
        table = check_table(own, "datasets", source.placed("datasets", row), names)
        layers = Layers((taken(table), general, run))
        subsets = tuple(
            layers.within(taken(check_table(one, "subsets", source.placed("datasets", row, "subsets", column), names)))
            for column, one in enumerate(as_tables(dataset.get("subsets")))
        )
        found.append(DatasetTables(layers, subsets, source.place("datasets", row)))
    return Written(run, general, tuple(found))
