"""`nox -s downstream` runs the tests of every plugin's folder: each has some."""

from __future__ import annotations

from pathlib import Path


def test_every_plugin_has_tests_that_downstream_runs(root: Path) -> None:
    folders = [path.parent for path in root.glob("plugins/*/pyproject.toml")]
    without = [folder for folder in folders if not list((root / "tests" / "plugins" / folder.name).rglob("test_*.py"))]
    assert folders
    assert without == []


def test_every_example_has_tests_that_downstream_runs(root: Path) -> None:
    folders = [path.parent for path in root.glob("examples/*/pyproject.toml")]
    without = [folder for folder in folders if not list((folder / "tests").rglob("test_*.py"))]
    assert folders
    assert without == []
