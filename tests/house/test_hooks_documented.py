"""Every hook has its heading in the reference, with its exact arguments and in its place, and a test that names it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from loracore import hookspecs

HOOKS = {
    name: list(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and "loracore_spec" in vars(function)
}


@pytest.fixture(scope="session")
def headings(root: Path) -> list[str]:
    reference = (root / "docs" / "hooks.md").read_text(encoding="utf-8")
    return re.findall(r"^### (.+)$", reference, flags=re.MULTILINE)


@pytest.fixture(scope="session")
def tests(root: Path) -> str:
    """Return the text of every test but those of the house, which name all hooks at once, and of no plugin's source."""
    left_out = {root / "tests" / "house", root / "tests" / "data"}
    paths = [path for path in (root / "tests").rglob("*.py") if left_out.isdisjoint(path.parents)]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_the_reference_has_every_hook_in_the_order_of_a_run(headings: list[str]) -> None:
    assert headings == [f"{name}({', '.join(arguments)})" for name, arguments in HOOKS.items()]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_named_by_a_test(hook: str, tests: str) -> None:
    assert re.search(rf"\b{hook}\b", tests)


def test_every_stage_type_is_in_the_reference(root: Path) -> None:
    reference = (root / "docs" / "hooks.md").read_text(encoding="utf-8")
    stages = ("Framing", "Latents", "TextConditioning", "Batch", "NoisyBatch", "Prediction", "Models", "LoraTarget")
    missing = [
        stage for stage in (*stages, "SampleRng", "Adapter", "Finding", "DemoKit") if f"`{stage}`" not in reference
    ]
    assert missing == []
