from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loracore.plugins import find_plugin, installed_plugins
from loracore.testing import install_metadata, toys_installed


def test_a_module_is_a_plugin_as_soon_as_its_metadata_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install_metadata(
        tmp_path, "loracore-moon", "2.1", {"loracore.networks": {"moon": "moon.light", "luna": "moon.light"}}
    )
    found = find_plugin("network", "luna")
    assert (found.module, found.origin) == ("moon.light", "loracore-moon 2.1")


def test_metadata_written_again_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("first", "second"):
        install_metadata(tmp_path, "loracore-moon", "2.1", {"loracore.networks": {"moon": module}})
    assert find_plugin("network", "moon").module == "second"


def test_the_toys_are_installed_as_long_as_asked_for() -> None:
    before, path = installed_plugins(), list(sys.path)
    with toys_installed():
        assert find_plugin("architecture", "toy").module == "loracore.testing.toy"
        assert find_plugin("network", "toy").module == "loracore.testing.toy_network"
    assert (installed_plugins(), sys.path) == (before, path)


def test_toys_inside_toys_are_the_same() -> None:
    with toys_installed(), toys_installed():
        assert find_plugin("architecture", "toy").origin == "loracore-toys 1.0"
