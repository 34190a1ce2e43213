"""What docs/plugins.md promises to authors: it is all there, and it is all that plugins and examples use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

import loracore
import loracore.testing
from loracore import Run, hookimpl
from loracore.testing.tiny_run import train_here
from tests.house.test_imports import Sources, every, lines


@pytest.fixture(scope="module")
def promises(root: Path) -> str:
    """Return the part of the page that says what the contract covers."""
    page = (root / "docs" / "plugins.md").read_text(encoding="utf-8")
    return page.partition("### What it covers\n")[2].partition("\n### ")[0]


def rows(text: str, *heads: str) -> dict[str, list[str]]:
    """Return the words in backticks of a table's second column by those of its first."""
    table = text.partition(f"| {' | '.join(heads)} |\n|---|---|\n")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {name: re.findall("`(.+?)`", second) for first, second in cells for name in re.findall("`(.+?)`", first)}


def in_rooms(promises: str) -> Iterator[str]:
    """Give the beginnings of names that the page promises."""
    for package, modules in rows(promises, "Package", "Modules").items():
        yield from (f"{package}.{module}" for module in modules or [""])


def test_every_room_is_there(promises: str) -> None:
    rooms = list(in_rooms(promises))
    assert {"loracore.noise.", "loracore.diffusion.", "loracore.networks.masks"} <= set(rooms)
    assert all(import_module(room.rstrip(".")) for room in rooms)


def test_plugins_and_examples_use_what_is_promised(plugins: Sources, strangers: Sources, promises: str) -> None:
    rooms = tuple(f"{room.rstrip('.')}." for room in in_rooms(promises))
    doors = {f"{door.__name__}.{name}" for door in (loracore, loracore.testing) for name in door.__all__}
    used = [found for found in every({**plugins, **strangers}) if found.name.startswith("loracore.")]
    assert used
    assert lines([found for found in used if found.name not in doors and not f"{found.name}.".startswith(rooms)]) == []


class Reading:
    """Keeps what the table promises of a run, read when the run is over."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.missing: list[str] | None = None

    @hookimpl
    def run_finished(self, run: Run) -> None:
        self.missing = [path for path in self.paths if not _has(run, path)]


def _has(run: Run, path: str) -> bool:
    try:
        reduce(getattr, path.split("."), run)  # of whatever stands there
    except AttributeError:
        return False
    return True


def test_what_is_promised_of_a_run_is_there(promises: str, loracore_config: Path) -> None:
    table = rows(promises, "Of `run`", "What you may rely on")
    deeper = [one for found in table.values() for one in found if re.fullmatch(r"\w+(\.\w+)+", one)]
    reading = Reading([*table, *(one for one in deeper if one.partition(".")[0] in table)])
    train_here([str(loracore_config), "--max_train_steps", "1"], [reading])
    assert {"length.steps", "start.taken", "results.files.folder"} <= set(reading.paths)
    assert reading.missing == []


def test_every_public_name_of_a_run_is_promised_or_said_to_be_the_cores(root: Path, promises: str) -> None:
    source = (root / "loracore" / "training" / "run.py").read_text(encoding="utf-8")
    (run,) = (one for one in ast.parse(source).body if isinstance(one, ast.ClassDef) and one.name == "Run")
    told = [(one, _name(one)) for one in run.body if _name(one)]
    own = {name for one, name in told if "for the core" in _words(source, one)}
    promised = set(rows(promises, "Of `run`", "What you may rely on"))
    assert {"hook", "store_state", "resumable"} <= own
    assert {name for _, name in told if not name.startswith("_")} == own | promised
    assert own & promised == set()


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return node.name
    return node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""


def _words(source: str, node: ast.stmt) -> str:
    """Return a statement as it is written, with the comment behind it, in small letters."""
    return "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]).lower()
