"""``loracore demo`` finds the kit, puts the user's words on top of it, and makes no folder for wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import loracore.demo.demo
from loracore import ConfigError, LoracoreError, PluginError
from loracore.cli.demo import demos, prepared
from loracore.demo.demo import DemoResult
from loracore.types import DemoKit
from tests.loracore.cli.conftest import Call
from tests.loracore.conftest import TOY_ARCHITECTURE, TOY_NETWORK, Install

DEMO = """
@hookimpl
def demo(config):
    from pathlib import Path
    from loracore import DemoKit
    datasets = [{"resolution": 64, "subsets": [{"image_dir": "pics"}]}]
    options = {"network_module": "toynet", "max_train_steps": 3, "datasets": datasets}
    return DemoKit(options, (), ("a",), ("b",), (64, 64), 1, lambda pictures: {})
"""
WITH_DEMO = TOY_ARCHITECTURE + DEMO
FAILING = TOY_ARCHITECTURE + "\n@hookimpl\ndef demo(config): raise OSError('no kit')\n"
COMPLAINING = TOY_ARCHITECTURE.replace('mode == "fast"', "False")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> Path:
    """Work in an empty folder, with one demo installed and no other architecture's to choose from."""
    install("loracore-toynet", "network", "toynet", TOY_NETWORK)
    install("shown", "architecture", "shown", WITH_DEMO)
    monkeypatch.setattr("loracore.cli.demo._architectures", lambda: ["broken", "shown"])
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def kit() -> DemoKit:
    return demos("shown")["shown"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the list of demos that were run, each with its options, data sets, folder and notes."""
    runs: list[dict[str, Any]] = []

    def run_demo(_kit: DemoKit, config: Any, _plugins: object, *rest: Any, notes: Sequence[str]) -> DemoResult:
        runs.append({"options": dict(config), "datasets": rest[0], "folder": rest[1], "notes": tuple(notes)})
        return DemoResult(Path("n"), Path("s"), Path("c"), {"x": 0.0}, {"x": 1.0}, seconds=1.0)

    monkeypatch.setattr(loracore.demo.demo, "run_demo", run_demo)
    return runs


def errors_of(words: Sequence[str], kit: DemoKit) -> list[str]:
    with pytest.raises(LoracoreError) as caught:
        prepared(words, "shown", kit)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("source", ["raise RuntimeError", "import sys\nsys.exit(0)", FAILING])
def test_a_broken_architecture_does_not_disturb_the_demo_of_another(
    install: Install, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    install("broken", "architecture", "broken", source)
    assert list(demos(None)) == ["shown"]
    assert capsys.readouterr().err.startswith("note: the demo of architecture 'broken' is left out: ")


def test_a_broken_architecture_that_was_asked_for_is_an_error(install: Install) -> None:
    install("broken", "architecture", "broken", "raise RuntimeError")
    with pytest.raises(PluginError, match="RuntimeError"):
        demos("broken")


def test_an_architecture_is_asked_for_its_demo_before_it_judges_options(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken", "architecture", "broken", COMPLAINING)
    assert list(demos(None)) == ["shown"]
    assert capsys.readouterr().err == ""


def test_an_architecture_without_a_demo_is_said_to_have_none(loracore: Call, install: Install) -> None:
    install("broken", "architecture", "broken", TOY_ARCHITECTURE)
    assert loracore("demo", "--arch", "broken").errors == [
        "architecture 'broken' brings no demo (pip install one that does)"
    ]


def test_the_only_demo_takes_its_architectures_options_without_arch(
    loracore: Call, install: Install, ran: list[dict[str, Any]]
) -> None:
    install("broken", "architecture", "broken", TOY_ARCHITECTURE)
    answer = loracore("demo", "--toy_width", "3")
    assert answer.code == 0, answer.err
    assert (ran[0]["options"]["toy_width"], ran[0]["options"]["max_train_steps"]) == (3, 3)
    assert ran[0]["folder"] == Path("demo-output")


def test_notes_on_options_without_effect_reach_the_run(loracore: Call, ran: list[dict[str, Any]]) -> None:
    loracore("demo", "--arch", "shown", "--toy_limit", "150", "--train_data_dir", "mine")
    assert ran[0]["notes"] == (
        "--toy_limit: toy_limit is not looked at",
        f"--train_data_dir: train_data_dir is without effect: [[datasets]] in {Path('demo-output/demo.toml')} wins",
    )


def test_a_config_without_a_data_set_keeps_the_kits(loracore: Call, ran: list[dict[str, Any]]) -> None:
    Path("mine.toml").write_text("toy_width = 4\n", encoding="utf-8")
    loracore("demo", "mine.toml", "--arch", "shown")
    assert ran[0]["options"]["toy_width"] == 4
    assert ran[0]["datasets"][0].subsets[0].image_dir == Path("pics")


def test_an_empty_output_folder_is_an_option_error(kit: DemoKit, folder: Path) -> None:
    (problem,) = errors_of(["--output_dir", ""], kit)
    assert problem.startswith("--output_dir: output_dir is empty")
    assert list(folder.iterdir()) == []


def test_wrong_words_leave_no_folder_behind(kit: DemoKit, folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown option 'toy_widht'"):
        prepared(["--toy_widht", "3"], "shown", kit)
    assert list(folder.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_an_error(kit: DemoKit) -> None:
    Path("taken").write_text("mine", encoding="utf-8")
    (problem,) = errors_of(["--output_dir", "taken"], kit)
    assert problem.startswith("taken: the output folder cannot be written to")


def test_a_demo_file_that_cannot_be_written_is_an_error(kit: DemoKit) -> None:
    Path("out/demo.toml").mkdir(parents=True)
    (problem,) = errors_of(["--output_dir", "out"], kit)
    assert problem.startswith(f"{Path('out/demo.toml')}: cannot be written")
