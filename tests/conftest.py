"""What many tests arrange, by the fixtures that plugin authors have: see loracore.testing.pytest_plugin."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ("loracore.testing.pytest_plugin", "tests.toy_runs")

DATA = Path(__file__).parent / "data"

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_home(loracore_home: Path) -> Path:
    """Give all tests a home of their own, whether they ask or not."""
    return loracore_home


@pytest.fixture(autouse=True, scope="module")
def frozen_imports() -> None:
    """Take what lives by now out of the garbage collector's sight: a run collects twice, and torch alone has a million.

    Nothing is collected first: that would take as long, and what is dead of earlier tests is small.
    """
    gc.freeze()


@pytest.fixture
def data() -> Path:
    """The folder of golden numbers and files."""
    return DATA


@pytest.fixture
def toy_site(loracore_toys: Path) -> Path:
    return loracore_toys


@pytest.fixture
def pictures(loracore_pictures: Path) -> Path:
    return loracore_pictures


@pytest.fixture
def cli(loracore_cli: RunCli) -> RunCli:
    return loracore_cli
