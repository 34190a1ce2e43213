"""``loracore plugins`` reads metadata; ``--check`` imports each plugin in a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from loracore.cli.plugin_check import verdict
from loracore.plugins import installed_plugins
from tests.loracore.cli.conftest import Call
from tests.loracore.conftest import PLUGIN, TOY_ARCHITECTURE, Install

RIVAL = """
@dataclass(frozen=True)
class Rival:
    seed: Annotated[int, option("another seed")] = 1

@hookimpl
def options(): return (Rival,)
"""


def fault_of(name: str) -> str:
    installed = installed_plugins()
    return verdict(next(plugin for plugin in installed if plugin.name == name), installed).fault


@pytest.mark.usefixtures("toys")
def test_every_plugin_is_listed_with_its_origin(loracore: Call) -> None:
    rows = [line.split() for line in loracore("plugins").out.splitlines()]
    assert ["toy", "architecture", "loracore-toy", "1.5", "loracore_toy_toy_module"] in rows


def test_optimizers_of_others_are_listed_without_an_import(loracore: Call, install: Install) -> None:
    module = install("steps", "optimizer", "Walk", "raise RuntimeError")
    rows = [line.split() for line in loracore("plugins").out.splitlines()]
    assert ["Walk", "optimizer", "steps", "1.5", f"{module}:Walk"] in rows
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("Walk", "from torch.optim import SGD\nclass Walk(SGD): pass", ""),
        ("Walk", "class Walk: pass", "Walk is no optimizer of torch"),
        ("Walk", "import missing_thing", "missing_thing"),
        ("Walk", "class Wolk: pass", "has no class 'Walk'"),
        ("AdamW", "from torch.optim import AdamW", "an optimizer of loracore's own"),
    ],
)
def test_check_names_what_is_wrong_with_an_optimizer(
    loracore: Call, install: Install, name: str, source: str, reason: str
) -> None:
    install("steps", "optimizer", name, source)
    answer = loracore("plugins", "--check", "--json")
    (found,) = [each for each in json.loads(answer.out) if each["kind"] == "optimizer"]
    assert found["ok"] is (not reason)
    assert reason in found.get("error", "")


def test_json_gives_the_same_without_an_import(loracore: Call, install: Install) -> None:
    module = install("loracore-toy", "architecture", "toy", "raise RuntimeError")
    answer = loracore("plugins", "--json")
    toy = {"name": "toy", "kind": "architecture", "package": "loracore-toy", "version": "1.5", "module": module}
    assert toy in json.loads(answer.out)
    assert module not in sys.modules


def test_check_shows_sound_and_broken_plugins_and_exits_1(loracore: Call, install: Install) -> None:
    install("loracore-toy", "architecture", "toy", TOY_ARCHITECTURE)
    install("broken", "extension", "broken", "import missing_thing")
    answer = loracore("plugins", "--check", "--json")
    found: dict[str, Any] = {each["name"]: each for each in json.loads(answer.out)}
    assert answer.code == 1
    assert found["toy"]["ok"] is True
    assert (found["broken"]["ok"], "missing_thing" in found["broken"]["error"]) == (False, True)


def test_check_shows_the_reason_below_the_plugin(loracore: Call, install: Install) -> None:
    install("broken", "extension", "broken", "import missing_thing")
    lines = loracore("plugins", "--check").out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("broken"))
    assert lines[at].endswith("BROKEN")
    assert "missing_thing" in lines[at + 1]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "states no LORACORE_API"),
        ("LORACORE_API = 99", "plugin API 99"),
        (PLUGIN + "import torch", "import brings torch"),
        (PLUGIN + "@hookimpl\ndef options():\n    import torch\n    return ()\n", "options() brings torch"),
        (
            PLUGIN + "@hookimpl\ndef step_dun(): pass\n",
            "ext_ext_module.py:6: extension 'ext' (ext 1.5), hook 'step_dun'",
        ),
        (PLUGIN + "@hookimpl\ndef options(): return Finding\n", "extension 'ext' (ext 1.5) gives the class Finding"),
        (PLUGIN + "@hookimpl\ndef options(): return (int,)\n", "gives int, which is no dataclass"),
        (PLUGIN + "@hookimpl\ndef options(): return 1 / 0\n", "in the hook 'options': ZeroDivisionError"),
        (PLUGIN + "@hookimpl\ndef step_done(stepp): pass\n", "stepp"),
        ("import os\nos._exit(7)", "exit code 7"),
        (PLUGIN + RIVAL, "'seed' is declared twice"),
    ],
)
def test_check_names_what_breaks_the_contract(install: Install, source: str, reason: str) -> None:
    install("ext", "extension", "ext", source)
    assert reason in fault_of("ext")


def test_check_tells_two_packages_of_one_name(install: Install) -> None:
    install("one", "extension", "ext", PLUGIN)
    install("two", "extension", "ext", PLUGIN)
    assert "claimed by one 1.5 and two 1.5" in fault_of("ext")
