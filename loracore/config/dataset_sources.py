"""Where a run's data-set tables come from: a file of their own, the run's file, a list, or folders of pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loracore.config.config import Config
from loracore.config.dataset_folders import FolderSubsets, folder_subsets
from loracore.config.file_values import check_values, parsed
from loracore.config.options import DataOptions
from loracore.config.toml_file import TomlFile, read_toml
from loracore.errors import ConfigError, Problem, did_you_mean

_TOP = ("general", "datasets")


@dataclass(frozen=True, slots=True)
class Source:
    """Tables as a data-set file writes them, wherever they come from."""

    values: Mapping[str, Any]
    place: Callable[..., str]  # of a key path, for messages
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def placed(self, *keys: str | int) -> Callable[[str], str]:
        """Return the places of the keys of one table."""
        return lambda name: self.place(*keys, name)


def find_source(config: Config, document: TomlFile | None) -> Source:
    """Return ``dataset_config``, else the [[datasets]] of the run's own file, else ``in_json``, else folders' tables.

    Raises ConfigError when there is none of them, when the file cannot be read, and when one file has both.
    """
    data = config[DataOptions]
    embedded = _embedded(document)
    if data.dataset_config is not None:
        place = config.place("dataset_config")
        if embedded is not None and f"{place}:".startswith(f"{embedded.path}:"):
            message = "dataset_config names a data-set file, but this file has [[datasets]] too"
            raise ConfigError(message, where=place, fix="keep one of them")
        return _read_file(Path(data.dataset_config), place)
    if embedded is not None:
        return Source({key: embedded.values[key] for key in _TOP if key in embedded.values}, embedded.place)
    if data.in_json is not None:
        return _metadata(config, data.in_json, data.train_data_dir)
    if data.train_data_dir is not None:
        return _folders(config, data.train_data_dir, data.reg_data_dir)
    fix = "give --train_data_dir FOLDER, --dataset_config FILE, or [[datasets]] in the configuration file"
    if data.reg_data_dir is not None:
        message = "there are regularisation pictures, but no pictures to train on"
        raise ConfigError(message, where=config.place("reg_data_dir"), fix=fix)
    raise ConfigError("no pictures to train on", fix=fix)


def idle_sources(config: Config, document: TomlFile | None) -> tuple[str, ...]:
    """Return a note for every place of pictures that another one makes useless."""
    data = config[DataOptions]
    embedded = _embedded(document)
    options = {"train_data_dir": data.train_data_dir, "reg_data_dir": data.reg_data_dir, "in_json": data.in_json}
    idle = [name for name, value in options.items() if value is not None]
    if data.dataset_config is not None:
        winner = config.place("dataset_config")
    elif embedded is not None:
        winner = f"[[datasets]] in {embedded.path}"
    elif data.in_json is not None:
        winner, idle = config.place("in_json"), [name for name in idle if name == "reg_data_dir"]
    else:
        return ()
    notes = [f"{config.place(name)}: {name} is without effect: {winner} wins" for name in idle]
    if embedded is not None and data.dataset_config is not None:
        notes.insert(0, f"{embedded.place('datasets')}: [[datasets]] is without effect: {winner} wins")
    return tuple(notes)


def _embedded(document: TomlFile | None) -> TomlFile | None:
    """Return the run's own file when it holds a data set."""
    return document if document is not None and "datasets" in document.values else None


def _metadata(config: Config, in_json: str, image_dir: str | None) -> Source:
    """Return one subset: the pictures of a list."""
    subset = {"metadata_file": in_json} | ({} if image_dir is None else {"image_dir": image_dir})
    options = {"image_dir": "train_data_dir"}
    return Source(
        {"datasets": [{"subsets": [subset]}]},
        lambda *keys: config.place(options.get(str(keys[-1]) if keys else "", "in_json")),
    )


def _folders(config: Config, train: str, reg: str | None) -> Source:
    """Return the subsets of ``train_data_dir``, then those of ``reg_data_dir``."""
    found = folder_subsets(Path(train))
    beside = FolderSubsets(()) if reg is None else folder_subsets(Path(reg))
    subsets = [*found.subsets, *({**subset, "is_reg": True} for subset in beside.subsets)]

    def place(*keys: str | int) -> str:
        column = next((key for key in keys[2:] if isinstance(key, int)), 0)  # datasets, 0, subsets, column, key
        return config.place("train_data_dir" if column < len(found.subsets) else "reg_data_dir")

    return Source({"datasets": [{"subsets": subsets}]}, place, (*found.warnings, *beside.warnings))


def _read_file(path: Path, place: str) -> Source:
    suffix = path.suffix.lower()
    if suffix not in {".toml", ".json", ""}:
        message = f"'{path}' is no data-set file: its name ends in {suffix}"
        raise ConfigError(message, where=place, fix="write it as .toml or .json")
    if suffix == ".json":
        source = _read_json(path)
    else:
        document = read_toml(path)
        source = Source(document.values, document.place)
    return Source(source.values, source.place, problems=tuple(_strangers(source)))


def _strangers(source: Source) -> Iterable[Problem]:
    """Give a problem for everything at the top of a data-set file that does not belong there."""
    for name in source.values:
        if name not in _TOP:
            fix = did_you_mean(name, _TOP) or "keys stand in [general], [[datasets]] or [[datasets.subsets]]"
            yield Problem(f"'{name}' does not belong at the top of a data-set file", source.place(name), fix)


def _read_json(path: Path) -> Source:
    try:
        values = parsed(_parse_json, path.read_bytes().decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise ConfigError("this is not UTF-8 text", where=str(path), fix="save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        message = f"JSON syntax error in column {error.colno}: {error.msg}"
        raise ConfigError(message, where=f"{path}:{error.lineno}") from error
    except _TwiceError as error:
        raise ConfigError(f"the key '{error}' is given twice", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not isinstance(values, dict):
        raise ConfigError("a data-set file holds an object", where=str(path), fix='write {"datasets": [...]}')

    def place(*keys: str | int) -> str:
        steps = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        return f"{path} at {steps.lstrip('.')}" if steps else str(path)

    check_values(values, place)
    return Source(values, place)


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


class _TwiceError(Exception):
    """A key that stands twice in one JSON object, where the later would silently win."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found
