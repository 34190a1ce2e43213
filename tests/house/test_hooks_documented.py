"""The reference of hooks is made of their specifications, and every hook has a test that names it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import pytest

from loracore import hookimpl, hookspecs, types
from loracore.training.run import Run
from tests.toy_runs import TrainToy

HOOKS = {
    name: list(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and "loracore_spec" in vars(function)
}


@pytest.fixture(scope="session")
def reference(root: Path) -> str:
    return (root / "docs" / "hooks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def maker(root: Path) -> ModuleType:
    """Return the script that makes the reference."""
    spec = importlib.util.spec_from_file_location("make_hooks", root / "docs" / "make_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_hooks"] = module  # where dataclasses look up their own module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tests(root: Path) -> str:
    """Return the text of every test but those of the house, which name all hooks at once, and of no plugin's source."""
    left_out = {root / "tests" / "house", root / "tests" / "data"}
    paths = [path for path in (root / "tests").rglob("*.py") if left_out.isdisjoint(path.parents)]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_the_reference_is_what_its_script_makes(root: Path) -> None:
    command = [sys.executable, str(root / "docs" / "make_hooks.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_the_reference_has_every_hook_in_the_order_of_a_run(reference: str) -> None:
    headings = re.findall(r"^### (\w+\(.*\))$", reference, flags=re.MULTILINE)
    assert headings == [f"{name}({', '.join(arguments)})" for name, arguments in HOOKS.items()]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_answered_or_called_by_a_test(hook: str, tests: str) -> None:
    assert re.search(rf"\bdef {hook}\(|\bhook\.{hook}\(", tests)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_when_it_is_called_and_who_answers(hook: str) -> None:
    doc = " ".join((inspect.getdoc(vars(hookspecs)[hook]) or "").split())
    assert re.search(r"\b(Called|Told) ", doc)
    assert doc.startswith("Told ") or re.search(r"Answered by (everybody|the architecture|the network)\b", doc)


def test_every_stage_type_is_in_the_reference(reference: str) -> None:
    stages = [
        name for name, value in vars(types).items() if inspect.isclass(value) and value.__module__ == types.__name__
    ]
    missing = [name for name in (*stages, "SampleRng", "Adapter", "Finding") if f"\n### {name}\n" not in reference]
    assert missing == []


def test_what_is_changed_between_the_marks_is_made_anew_and_the_rest_stays(maker: ModuleType, reference: str) -> None:
    changed = reference.replace("### options()", "### option()").replace("# The hooks", "# Hooks")
    assert maker.page(changed) == reference.replace("# The hooks", "# Hooks")


def test_a_reference_without_its_marks_is_refused(maker: ModuleType, reference: str) -> None:
    with pytest.raises(SystemExit, match="0 places for types"):
        maker.page(reference.replace("<!-- end of types -->", ""))


def test_what_is_said_to_be_useful_in_a_run_is_in_it(train_toy: TrainToy) -> None:
    doc = inspect.getdoc(hookspecs.run_started) or ""
    names = re.findall(r"``(\w[\w.]*)", doc.partition("Useful in it")[2])
    assert len(names) > 10
    looked_at = []

    class Look:
        @hookimpl
        def run_started(self, run: Run) -> None:
            looked_at.append(attrgetter(*names)(run))

    train_toy("--max_train_steps", "1", plugin=Look())
    assert looked_at
