"""One table of a data-set file, checked key by key; and the tables in which a value is looked up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from loracore.config.config import Config
from loracore.config.dataset_keys import KEYS, TABLES, Level
from loracore.config.options import DataOptions, PluginOptions
from loracore.errors import Problem, did_you_mean

#: Names of run options that data-set files spell differently.
_RENAMED = MappingProxyType({"train_batch_size": "batch_size", "dataset_repeats": "num_repeats"})

#: Run options that are no default of every subset: masks are those of one folder, and cache_info changes nothing.
_RUN_ONLY = frozenset({"conditioning_data_dir", "cache_info"})

#: Values of keys that are no options of the run.
_BUILT_IN: Mapping[str, Any] = MappingProxyType({"network_multiplier": 1.0, "is_reg": False, "custom_attributes": {}})

_STRANGE = "if it is an option of an architecture, it is no key of a data set: give it outside, with arch"

_ADAPTERS: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    # made when a key is first given: together they take as long as a dozen modules
    {name: TypeAdapter(key.type, config=ConfigDict(defer_build=True)) for name, key in KEYS.items()}
)


@dataclass(frozen=True, slots=True)
class RunNames:
    """The options of a run by name, for keys that are none of a data set."""

    known: Collection[str] = ()
    complete: bool = True  # False: no architecture is chosen, and those of its options are not known


def run_names(config: Config) -> RunNames:
    """Return the names of a run's options."""
    complete = PluginOptions in config and config[PluginOptions].arch is not None
    return RunNames(frozenset(name for name, _ in config), complete)


@dataclass(frozen=True, slots=True)
class Table:
    """The checked values of one table, and the place (``file:line``) of each key."""

    values: Mapping[str, Any]
    given: Collection[str]  # every key that stands there, right or wrong
    place: Callable[[str], str]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Layers:
    """The tables in which a value is looked for, innermost first: [[datasets.subsets]] … the run's options."""

    tables: tuple[Table, ...]

    def __getitem__(self, key: str) -> Any:
        """Return the innermost value; None where there is none, and where the innermost one is wrong."""
        table = self._home(key)
        return None if table is None else table.values.get(key)

    def place(self, key: str) -> str:
        """Return the place of the innermost value, or of the innermost table where there is none."""
        return (self._home(key) or self.tables[0]).place(key)

    def has(self, key: str) -> bool:
        """Tell whether any table gives the key, right or wrong."""
        return self._home(key) is not None

    def misreads(self, key: str) -> bool:
        """Tell whether the value is wrong, so that nothing can be concluded from it."""
        table = self._home(key)
        return table is not None and key not in table.values

    def within(self, table: Table) -> Layers:
        """Return the layers seen from a table inside them."""
        return Layers((table, *self.tables))

    def _home(self, key: str) -> Table | None:
        return next((table for table in self.tables if key in table.given), None)


@dataclass(frozen=True, slots=True)
class DatasetTables:
    """One data set as it is written: its own layers, those of each of its subsets, and its place."""

    layers: Layers  # [[datasets]], [general], the run's options
    subsets: tuple[Layers, ...]
    place: str

    @property
    def misread(self) -> tuple[Problem, ...]:
        """Return what is wrong about single keys of this data set and its subsets."""
        own = [self.layers.tables[0], *(subset.tables[0] for subset in self.subsets)]
        return tuple(problem for table in own for problem in table.problems)

    @property
    def training(self) -> tuple[Layers, ...]:
        """Return the subsets that are no regularisation."""
        return tuple(subset for subset in self.subsets if not subset["is_reg"])

    @property
    def without_masks(self) -> tuple[Layers, ...]:
        """Return the training subsets that name no masks of their own; the run's option can name those of one."""
        return tuple(subset for subset in self.training if not subset.has("conditioning_data_dir"))


def source_place(subset: Layers) -> str:
    """Return the place that names a subset's folder, or its list where it has no folder."""
    return subset.place("image_dir" if subset.has("image_dir") else "metadata_file")


def check_table(found: Mapping[str, Any], level: Level, place: Callable[[str], str], run_options: RunNames) -> Table:
    """Return the table's values as their types say, with everything that is wrong about the others.

    A value that is None (null in JSON) counts as not given.
    """
    given = {name: value for name, value in found.items() if value is not None}
    strays = {name: problem for name in given if (problem := _misplaced(name, level, run_options))}
    values, mistakes = _typed({name: value for name, value in given.items() if name not in strays})
    problems = tuple(
        Problem(wrong.message, place(name), wrong.fix)
        for name in given
        if (wrong := strays.get(name) or mistakes.get(name))
    )
    return Table(values, tuple(given), place, problems)


def run_table(config: Config) -> Table:
    """Return the run's options under the names that data-set files give them, checked as if they stood there."""
    options = asdict(config[DataOptions])
    names = {key: option for option, key in _RENAMED.items()}
    if options["caption_extention"] is not None:
        names["caption_extension"] = "caption_extention"  # the misspelt one has always won
    found = {key: options.get(names.get(key, key)) for key in KEYS if key not in _RUN_ONLY}
    given = {**_BUILT_IN, **{key: value for key, value in found.items() if value is not None}}
    values, mistakes = _typed(given)

    def place(key: str) -> str:
        return config.place(names.get(key, key))

    problems = tuple(Problem(wrong.message, place(key), wrong.fix) for key, wrong in mistakes.items())
    return Table(values, tuple(given), place, problems)


def _misplaced(name: str, level: Level, run_options: RunNames) -> Problem | None:
    table = TABLES[level]
    if name in KEYS:
        levels = KEYS[name].levels
        if level in levels:
            return None
        homes = " or ".join(TABLES[home] for home in levels)
        return Problem(f"'{name}' belongs in {homes}, not in {table}", fix="move it there")
    if name in _RENAMED:
        return Problem(f"unknown key '{name}' in {table}", fix=f"a data set calls it '{_RENAMED[name]}'")
    if name in run_options.known:
        message = f"'{name}' is an option of the run, not a key of {table}"
        return Problem(message, fix=f"give it outside the data set, or as --{name}")
    here = [known for known, key in KEYS.items() if level in key.levels]
    here += ["subsets"] if level == "datasets" else []
    fix = did_you_mean(name, here) or ("" if run_options.complete else _STRANGE)
    return Problem(f"unknown key '{name}' in {table}", fix=fix)


def _typed(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Problem]]:
    values: dict[str, Any] = {}
    mistakes: dict[str, Problem] = {}
    for name, value in given.items():
        try:
            values[name] = _ADAPTERS[name].validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
            mistakes[name] = Problem(f"{name} = {value!r}: {said}", fix=KEYS[name].fix)
    return values, mistakes
