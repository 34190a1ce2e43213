"""`nox -s downstream` runs the tests of every plugin's folder: each has some."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest
import tomli


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


def test_downstream_and_types_find_every_package(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nox")  # the tests' environment need not have it; the one that is installed for people has
    monkeypatch.chdir(root)  # where nox runs
    sessions = runpy.run_path("noxfile.py")
    found = {folder: sessions["packages_in"](folder) for folder in ("plugins", "examples")}
    for folder, packages in found.items():
        assert packages == sorted(path.parent.relative_to(root) for path in root.glob(f"{folder}/*/pyproject.toml"))
    assert set(sessions["PACKAGES"]) == {".", *map(str, found["plugins"])}


def test_every_package_names_its_tests_where_pytest_looks(root: Path) -> None:
    for path in root.glob("examples/*/pyproject.toml"):
        settings = tomli.loads(path.read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
        assert settings["testpaths"] == ["tests"], path


def test_people_are_told_of_every_session(root: Path) -> None:
    functions = ast.parse((root / "noxfile.py").read_text(encoding="utf-8")).body
    sessions = {node.name for node in functions if isinstance(node, ast.FunctionDef) and node.decorator_list}
    pages = "".join((root / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "README.md"))
    assert sessions >= {"tests", "lint", "types", "downstream"}
    assert [name for name in sorted(sessions - {"lint", "types"}) if f"nox -s {name}" not in pages] == []
