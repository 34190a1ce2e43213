"""Where a run's data-set tables come from: a file of their own, the run's file, or a folder of pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loracore.config.config import Config
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
    """Return ``dataset_config``, else the [[datasets]] of the run's own file, else what ``train_data_dir`` means.

    Raises ConfigError when there is none of them, when the file cannot be read, and when one file has both.
    """
    data = config[DataOptions]
    embedded = document if document is not None and "datasets" in document.values else None
    if data.dataset_config is not None:
        place = config.place("dataset_config")
        if embedded is not None and f"{place}:".startswith(f"{embedded.path}:"):
            message = "dataset_config names a data-set file, but this file has [[datasets]] too"
            raise ConfigError(message, where=place, fix="keep one of them")
        return _read_file(Path(data.dataset_config), place)
    if embedded is not None:
        return Source({key: embedded.values[key] for key in _TOP if key in embedded.values}, embedded.place)
    if data.train_data_dir is not None:
        return _read_folder(Path(data.train_data_dir), config.place("train_data_dir"))
    fix = "give --train_data_dir FOLDER, --dataset_config FILE, or [[datasets]] in the configuration file"
    raise ConfigError("no pictures to train on", fix=fix)


def idle_sources(config: Config, document: TomlFile | None) -> tuple[str, ...]:
    """Return a note for every place of pictures that another one makes useless.

    ``train_data_dir`` beside ``dataset_config`` is among the core's own findings.
    """
    data = config[DataOptions]
    embedded = document if document is not None and "datasets" in document.values else None
    if embedded is None:
        return ()
    if data.dataset_config is not None:
        return (f"{embedded.place('datasets')}: [[datasets]] is without effect: {config.place('dataset_config')} wins",)
    if data.train_data_dir is not None:
        place = config.place("train_data_dir")
        return (f"{place}: train_data_dir is without effect: [[datasets]] in {embedded.path} wins",)
    return ()


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
        values = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique)
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

    return Source(values, place)


class _TwiceError(Exception):
    """A key that stands twice in one JSON object, where the later would silently win."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _read_folder(folder: Path, place: str) -> Source:
    """Return one subset for each ``N_name`` sub-folder, sorted, or the folder itself when there is none.

    A folder that cannot be listed is left for the scan to complain of.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError:
        found = []
    named = {name: split for name, is_dir in found if is_dir and (split := _repeats_and_tokens(name))}
    if not named:
        return _folders([{"image_dir": str(folder)}], place)
    left_out = [name for name, is_dir in found if is_dir and name not in named]
    warnings: list[str] = []
    if left_out:
        warnings.append(f"{folder}: sub-folders without N_ before their name are not used: {', '.join(left_out)}")
    if not all(is_dir for _, is_dir in found):
        warnings.append(f"{folder}: files beside the sub-folders {', '.join(named)} are not used")
    subsets = [
        {"image_dir": str(folder / name), "num_repeats": repeats, "class_tokens": tokens}
        for name, (repeats, tokens) in named.items()
    ]
    return _folders(subsets, place, tuple(warnings))


def _folders(subsets: list[dict[str, Any]], place: str, warnings: tuple[str, ...] = ()) -> Source:
    return Source({"datasets": [{"subsets": subsets}]}, lambda *_: place, warnings)


def _repeats_and_tokens(name: str) -> tuple[int, str] | None:
    """Return (num_repeats, class_tokens) of a folder called ``N_name``, or None when N is no number above 0."""
    number, _, tokens = name.partition("_")
    try:
        repeats = int(number)
    except ValueError:
        return None
    return (repeats, tokens) if repeats > 0 else None
