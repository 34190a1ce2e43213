"""What the READMEs of the examples say can be done, and what their packages say of themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def project_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomli.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def commands_of(folder: Path, begin: str) -> list[str]:
    """Return the lines of the README's code blocks that begin with these words."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [line for block in blocks for line in block.splitlines() if line.startswith(begin)]


@each
def test_everything_is_installed_from_folders_that_exist(example: Path) -> None:
    words = [word for line in commands_of(example, "pip install") for word in line.split()[2:]]
    assert f"./examples/{example.name}" in words
    assert [word for word in words if word not in {"-e", '".[test]"'} and not (ROOT / word).is_dir()] == []


@each
def test_the_extra_holds_what_the_tests_need(example: Path) -> None:
    needed = {re.split("[<>=]", one)[0] for one in project_of(example)["optional-dependencies"]["test"]}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (example / "tests").glob("*.py"))
    assert needed == {"pytest", *(["loracore-networks"] if '"lora"' in tests else [])}
    assert commands_of(example, 'pip install -e ".[test]"')


@each
def test_a_run_that_is_shown_has_an_architecture_a_network_and_their_packages(example: Path) -> None:
    (line,) = commands_of(example, "loracore train")
    (packages,) = (one for one in commands_of(example, "pip install") if "./" in one)
    assert "--arch" not in line or ("--network_module lora" in line and "./plugins/networks" in packages)


@each
def test_the_licence_lies_beside_the_package(example: Path) -> None:
    assert project_of(example)["license-files"] == ["LICENSE"]
    assert (example / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")
