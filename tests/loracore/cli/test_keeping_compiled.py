from __future__ import annotations

import os
from pathlib import Path

import pytest

from loracore import Config
from loracore.cli.keeping_compiled import keep_compiled
from loracore.config.options import DataOptions, SpeedOptions

NAME = "TORCHINDUCTOR_CACHE_DIR"


def kept(folder: Path, *, compiled: bool = True) -> str | None:
    keep_compiled(Config([SpeedOptions(torch_compile=compiled), DataOptions(cache_dir=str(folder))], {}))
    return os.environ.get(NAME)


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "")  # so that it is put back
    monkeypatch.delenv(NAME)


def test_compiled_code_is_kept_with_the_users_caches(tmp_path: Path) -> None:
    assert kept(tmp_path) == str(tmp_path / "compiled")


def test_where_the_user_wants_it_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "elsewhere")
    assert kept(tmp_path) == "elsewhere"


def test_a_run_that_compiles_nothing_changes_nothing(tmp_path: Path) -> None:
    assert kept(tmp_path, compiled=False) is None
