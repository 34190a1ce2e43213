"""Where is kept what outlives a run: tables of folders, encoded pictures and captions, compiled code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loracore.config.options import DataOptions
from loracore.errors import ConfigError

if TYPE_CHECKING:
    from loracore.config.config import Config


def tables_folder(config: Config) -> Path | None:
    """Return the folder of what earlier scans found; None where there is no place to keep anything."""
    found = _cache_folder(config)
    return None if found is None else found / "tables"


def tensors_folder(config: Config) -> Path:
    """Return the folder of the store that all runs share; raises ConfigError where there is no place for it."""
    found = _cache_folder(config)
    if found is None:
        message = "this user has no home folder to keep caches in"
        raise ConfigError(message, where=config.place("cache_dir"), fix="give --cache_dir FOLDER")
    return found / "tensors"


def compiled_folder(config: Config) -> Path | None:
    """Return the folder of compiled code, which all runs share; None where there is no place to keep anything."""
    found = _cache_folder(config)
    return None if found is None else found / "compiled"


def _cache_folder(config: Config) -> Path | None:
    """Return the folder, None when it begins at a home that does not exist, as in a container with a bare user id."""
    expanded = os.path.expanduser(config[DataOptions].cache_dir)  # noqa: PTH111  # Path's own raises
    return None if expanded.startswith("~") else Path(expanded)
