"""Plugins that are written into a folder of installed packages, for one test each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from loracore.plugins import GROUPS, Kind
from loracore.testing import check_architecture, install_metadata, toy
from tests.planted_toy import MODULE
from tests.planting import Plant, Planted


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """What installs a plugin; its modules are gone afterwards."""
    planted: list[str] = []

    def install(kind: Kind, sources: Mapping[str, str], check: Callable[[str], None]) -> Planted:
        site = tmp_path / "site"
        install_metadata(site, "loracore-planted", "0.3", {GROUPS[kind]: {"planted": next(iter(sources))}})
        monkeypatch.syspath_prepend(str(site))
        planted.extend(sources)
        return Planted(kind, site, sources, check)

    yield install
    for name in planted:
        sys.modules.pop(name, None)


@pytest.fixture
def planted(plant: Plant) -> Planted:
    """The toy architecture; tests of other kinds of plugins have a fixture of this name of their own."""
    return plant("architecture", {MODULE: Path(str(toy.__file__)).read_text(encoding="utf-8")}, check_architecture)
