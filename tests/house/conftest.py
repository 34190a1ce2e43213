"""The sources that the house's rules are about, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

from loracore.cli.choice import plugin_options
from loracore.config.options import PluginOptions

ROOT = Path(__file__).parents[2]

Sources = Mapping[Path, ast.Module]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def core() -> Sources:
    """Return the modules of the core, by path from the root."""
    return _parsed("loracore/**/*.py")


@pytest.fixture(scope="session")
def plugins() -> Sources:
    """Return the modules of our plugins' packages and of the examples, by path from the root."""
    return {**_parsed("plugins/*/loracore_*/**/*.py"), **_parsed("examples/*/loracore_*/**/*.py")}


@pytest.fixture(scope="session")
def strangers() -> Sources:
    """Return the modules of the third-party plugins that tests install, by path from the root."""
    return _parsed("tests/data/third_party/*/*/*.py")


@pytest.fixture(scope="session")
def owners() -> Mapping[str, frozenset[str]]:
    """Return the tables that declare each option, of both architectures."""
    found: dict[str, set[str]] = {}
    for arch in ("sdxl", "sd3"):
        for name, option in plugin_options(PluginOptions(arch=arch)).options.items():
            found.setdefault(name, set()).add(option.table.__name__)
    return {name: frozenset(tables) for name, tables in found.items()}


def _parsed(pattern: str) -> Sources:
    paths = sorted(path for path in ROOT.glob(pattern) if "build" not in path.relative_to(ROOT).parts)
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
