"""Where is kept what outlives a run: tables of folders, encoded pictures and captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loracore.config.options import DataOptions

if TYPE_CHECKING:
    from loracore.config.config import Config


def tables_folder(config: Config) -> Path:
    """Return the folder of what earlier scans found."""
    return _cache_folder(config) / "tables"


def tensors_folder(config: Config) -> Path:
    """Return the folder of the store that all runs share."""
    return _cache_folder(config) / "tensors"


def _cache_folder(config: Config) -> Path:
    return Path(config[DataOptions].cache_dir).expanduser()
