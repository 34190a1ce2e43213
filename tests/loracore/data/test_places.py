from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.config import Config
from loracore.config.options import DataOptions
from loracore.data.places import tables_folder, tensors_folder
from loracore.errors import ConfigError


def keeping_in(folder: str) -> Config:
    return Config([DataOptions(cache_dir=folder)], {})


def test_everything_kept_lies_in_one_folder(tmp_path: Path) -> None:
    config = keeping_in(str(tmp_path))
    assert (tables_folder(config), tensors_folder(config)) == (tmp_path / "tables", tmp_path / "tensors")


def test_the_home_folder_is_found(own_home: Path) -> None:
    assert tables_folder(keeping_in("~/cache")) == own_home / "cache" / "tables"


def test_without_a_home_nothing_is_kept_unless_it_must_be() -> None:
    config = keeping_in("~nobody-of-this-name/cache")
    assert tables_folder(config) is None
    with pytest.raises(ConfigError, match="cache_dir: this user has no home folder"):
        tensors_folder(config)
