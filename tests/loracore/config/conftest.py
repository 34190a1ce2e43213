from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.errors import ConfigError
from tests.loracore.config.data_files import Read, Wrong, config_of


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a data-set file of this text, with these run options."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str, name: str = "data.toml", **options: object) -> tuple[DatasetSpec, ...]:
        Path(name).write_text(text, "utf-8")
        return read_datasets(config_of(dataset_config=name, **options), None)

    return read_text


@pytest.fixture
def wrong(read: Read) -> Wrong:
    """Read a data-set file that must not pass, and give its problems as a user reads them."""

    def problems(text: str, name: str = "data.toml", **options: object) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, name, **options)
        return str(caught.value).splitlines()

    return problems
