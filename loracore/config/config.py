"""The checked options of one run, read back by the dataclass that declares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic.fields import FieldInfo

from loracore.config.annotated_fields import annotations_of
from loracore.config.options import NEUTRAL_OPTIONS
from loracore.errors import Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from loracore.config.options import CacheKind

Table = TypeVar("Table")

#: The four fates of an option that is not simply used as it stands.
Fate = Literal["wrong", "unsupported", "without effect", "implied"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What ``check_options`` says of one option: an error, or a line in the run's header.

    ``where`` is the place of what is meant when that is not the option itself, such as a data set. Of an option that
    the user did not give, "implied" says the ``value`` that follows from something else: the option gets it.
    """

    fate: Fate
    option: str
    message: str
    fix: str = ""
    where: str = ""
    value: Any = None

    def problem(self, config: Config) -> Problem:
        """Return this finding as a problem, placed at its ``where``, or where the user gave the option."""
        return Problem(self.message, self.where or config.place(self.option), self.fix)


class Config:
    """Every option of a run: ``config[NetworkOptions].network_dim``.

    Frozen: made once from the owners' dataclasses, with the place (``file:line`` or ``--flag``) of every option that
    the user gave.
    """

    def __init__(self, tables: Iterable[Any], places: Mapping[str, str], datasets: Iterable[DatasetSpec] = ()) -> None:
        self._datasets = tuple(datasets)
        self._tables = MappingProxyType({type(table): table for table in tables})
        self._places = MappingProxyType(dict(places))

    def __getitem__(self, table: type[Table]) -> Table:
        found: Table = self._tables[table]
        return found

    def __contains__(self, table: type) -> bool:
        return table in self._tables

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Give every option's name and value, owner by owner."""
        for table in self._tables.values():
            for field in fields(table):
                yield field.name, getattr(table, field.name)

    def with_datasets(self, datasets: Iterable[DatasetSpec]) -> Config:
        """Return a config that knows the run's data sets too."""
        return Config(self._tables.values(), self._places, datasets)

    def with_table(self, table: Any) -> Config:
        """Return a config with another table in the place of that of its kind."""
        tables = [table if kind is type(table) else found for kind, found in self._tables.items()]
        return Config(tables, self._places, self._datasets)

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """Return a config in which these options have other values; nobody counts as having given them."""
        tables = []
        for table in self._tables.values():
            own = {field.name: values[field.name] for field in fields(table) if field.name in values}
            tables.append(replace(table, **own) if own else table)
        return Config(tables, self._places, self._datasets)

    @property
    def datasets(self) -> tuple[DatasetSpec, ...]:
        """The run's data sets; empty before they are read."""
        return self._datasets

    def network_args(self) -> dict[str, Any]:
        """Return the options given that could also stand in ``network_args``, by whichever door they came."""
        return {
            name: getattr(table, name)
            for kind, table in self._tables.items()
            for name, extra in _extras(kind)
            if self.given(name) and extra.get("network_arg")
        }

    def affecting(self, cache: CacheKind) -> dict[str, Any]:
        """Return the options that say of themselves that entries of this cache depend on them."""
        return {
            name: getattr(table, name)
            for kind, table in self._tables.items()
            for name, extra in _extras(kind)
            if cache in extra.get("affects", ())
        }

    def changed(self, cache: CacheKind) -> list[str]:
        """Return the names of those among `affecting` whose value is not the default."""
        defaults = {field.name: field.default for kind in self._tables for field in fields(kind)}
        return [name for name, value in self.affecting(cache).items() if value != defaults[name]]

    def shown(self) -> dict[str, Any]:
        """Return every option but the secret ones: what may be written down."""
        secret = self._marked("secret")
        return {name: value for name, value in self if name not in secret}

    def sent(self) -> dict[str, Any]:
        """Return every option but the secret ones and the places of files: what may leave the machine."""
        places = self._marked("place")
        return {name: value for name, value in self.shown().items() if name not in places}

    def differing(self) -> dict[str, Any]:
        """Return every option but the secret ones whose value is not the default."""
        defaults = {each.name: default_of(each) for kind in self._tables for each in fields(kind)}
        return {name: value for name, value in self.shown().items() if value != defaults[name]}

    def shaping(self) -> dict[str, Any]:
        """Return every option that what is trained may depend on: a run is resumed with the same ones alone."""
        left_out = self._marked("neutral") | self._marked("secret")
        tables = [table for kind, table in self._tables.items() if kind not in NEUTRAL_OPTIONS]
        named = ((field.name, getattr(table, field.name)) for table in tables for field in fields(table))
        return {name: value for name, value in named if name not in left_out}

    def _marked(self, mark: str) -> set[str]:
        """Return the options that say this of themselves."""
        return {name for kind in self._tables for name, extra in _extras(kind) if extra.get(mark)}

    def hashed_files(self) -> dict[str, str]:
        """Return the model files that options name and headers tell, by what they are called there ("vae")."""
        return {
            str(extra["hashed_as"]): getattr(table, name)
            for kind, table in self._tables.items()
            for name, extra in _extras(kind)
            if extra.get("hashed_as") and getattr(table, name) is not None
        }

    @property
    def tables(self) -> tuple[type, ...]:
        """The dataclasses that declare its options, owner by owner."""
        return tuple(self._tables)

    def given(self, option: str) -> bool:
        """Tell whether the user gave this option, in a file or as a flag."""
        return option in self._places

    def place(self, option: str) -> str:
        """Return ``file:line`` or ``--flag`` of an option, or its flag when it was left at its default."""
        return self._places.get(option, f"--{option}")


def default_of(field: Field[Any]) -> Any:
    """Return the value of an option that nobody gives."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _extras(table: type) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give every option of a table with what ``option`` noted beside its help and range."""
    for name in (each.name for each in fields(table)):
        infos = [part for part in annotations_of(table)[name].__metadata__ if isinstance(part, FieldInfo)]
        yield from ((name, info.json_schema_extra) for info in infos if isinstance(info.json_schema_extra, dict))
