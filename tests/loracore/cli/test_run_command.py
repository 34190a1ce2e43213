"""A run command is a function of a request; its help and completion come from the option tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from loracore.cli.main import program
from loracore.cli.request import Request
from loracore.cli.run_command import RunCommand, run_command
from tests.loracore.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("toys")

TOYS = ["--arch", "toy", "--network_module", "toynet"]


@pytest.fixture
def look() -> RunCommand:
    @run_command(needs=("arch",), switches={"json": "print JSON"})
    def look(request: Request, *, json: bool) -> None:
        """Look at the toys."""
        click.echo(f"{request.config.given('toy_width')} {json}")

    return look


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    path = tmp_path / "run.toml"
    path.write_text('arch = "toy"\nnetwork_module = "toynet"\n', encoding="utf-8")
    return str(path)


def completions(*words: str) -> list[str]:
    *before, incomplete = words
    items = ShellComplete(program, {}, "loracore", "_LORACORE_COMPLETE").get_completions(before, incomplete)
    return [item.value for item in items if item.type == "plain"]


@pytest.mark.parametrize(("switches", "said"), [([], "True False\n"), (["--json"], "True True\n")])
def test_the_body_gets_the_request_and_the_commands_own_switches(
    look: RunCommand, capsys: pytest.CaptureFixture[str], switches: list[str], said: str
) -> None:
    look.main([*TOYS, *switches, "--toy_width", "3"], standalone_mode=False)
    assert capsys.readouterr().out == said


def test_a_switch_of_the_command_ends_a_list_before_it(look: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    look.main([*TOYS, "--network_args", "toy_width=3", "--json"], standalone_mode=False)
    assert capsys.readouterr().out == "True True\n"


def test_help_lists_the_options_of_the_architecture_on_the_line(loracore: Call) -> None:
    text = loracore("train", *TOYS, "--help").out
    assert "--toy_width" in text
    assert "--toy_dropout" in text
    assert text.startswith("Usage: loracore train [--arch NAME] [CONFIG]")


def test_help_without_an_architecture_says_how_to_see_more(loracore: Call) -> None:
    text = loracore("train", "--help").out
    assert "--network_dim" in text
    assert "loracore train --arch NAME --help" in text


def test_help_lists_the_options_of_the_architecture_that_config_names(loracore: Call, run_file: str) -> None:
    text = loracore("train", run_file, "--help").out
    assert "--toy_width" in text
    assert "--toy_dropout" in text


def test_behind_config_the_options_of_its_architecture_are_completed(run_file: str) -> None:
    assert completions("train", run_file, "--toy_w") == ["--toy_width"]
    assert completions("train", "missing.toml", *TOYS, "--toy_w") == ["--toy_width"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_completion_script_of_the_readme_is_printed(shell: str) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    variable = f"_LORACORE_COMPLETE={shell}_source"
    assert variable in readme
    program = "from loracore.cli.main import main; main()"
    env = {**os.environ, **dict([variable.split("=")])}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "_LORACORE_COMPLETE" in done.stdout) == (0, True)


def test_commands_are_completed() -> None:
    assert completions("tr") == ["train"]


def test_option_names_are_completed_from_the_plugins_on_the_line() -> None:
    assert completions("train", *TOYS, "--toy_w") == ["--toy_width"]
    assert completions("train", "--toy_w") == []
    assert completions("train", "--learning") == ["--learning_rate"]


def test_choices_are_completed() -> None:
    assert completions("train", "--mixed_precision", "") == ["no", "fp16", "bf16"]
    assert completions("train", *TOYS, "--toy_mode", "f") == ["fast"]
    assert completions("train", *TOYS, "--toy_limit", "1") == ["150"]


@pytest.mark.parametrize("words", [("train", "--arch"), ("options", "--arch"), ("train", "--overwrite", "--arch")])
def test_installed_architectures_are_completed(words: tuple[str, ...]) -> None:
    assert completions(*words, "to") == ["toy"]


def test_behind_a_whole_option_files_are_completed() -> None:
    items = ShellComplete(program, {}, "loracore", "_LORACORE_COMPLETE").get_completions(["train", "--seed", "1"], "r")
    assert [(item.value, item.type) for item in items] == [("r", "file")]


def test_a_half_written_architecture_still_completes_the_cores_options() -> None:
    assert completions("train", "--arch", "nope", "--learning") == ["--learning_rate"]
