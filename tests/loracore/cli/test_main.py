"""Commands are imported when called; what a user can mend is a line on stderr and exit code 2."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from loracore.cli.main import COMMANDS, program
from loracore.config import declared
from tests.loracore.cli.conftest import Call

WHOLE = [
    "--arch",
    "toy",
    "--network_module",
    "toynet",
    "--pretrained_model_name_or_path",
    "owner/model",
    "--output_dir",
    "out",
]
QUIET = [
    ("--help",),
    ("--version",),
    ("plugins",),
    ("options",),
    ("options", "--arch", "toy", "--network", "toynet", "--json-schema"),
    ("train", "--help", "--arch", "toy", "--network_module", "toynet"),
]
FAILING = [
    ("train", "--arch", "toy", "--network_module", "toynet", "--netwrok_dim", "8"),
    ("train", "--arch", "toy", "--network_module", "toynet"),
    ("train",),
    ("train", "missing.toml"),
    ("train", *WHOLE, "--dataset_config", "missing.toml"),
]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("argv", QUIET)
def test_what_only_asks_imports_no_torch(imports: Call, argv: tuple[str, ...]) -> None:
    answer = imports(*argv)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "")


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("argv", FAILING)
def test_option_errors_exit_2_without_torch_or_traceback(imports: Call, argv: tuple[str, ...]) -> None:
    answer = imports(*argv)
    assert (answer.code, answer.out.strip()) == (2, "")
    assert all(line.startswith("error: ") for line in answer.err.splitlines())


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    "wrong",
    [
        ("--network_dim", "0"),
        ("--network_dim", "eight"),
        ("--unheard",),
        ("--train_batch_size", "0"),
        ("--train_batch_size", "many"),
    ],
)
def test_a_wrong_option_and_a_wrong_data_set_are_told_together(loracore: Call, wrong: tuple[str, ...]) -> None:
    first, second = loracore("train", *WHOLE, "--dataset_config", "missing.toml", *wrong).errors
    assert first.startswith(wrong[0])
    assert second.startswith("missing.toml: no such file")


def test_python_m_loracore_is_the_program() -> None:
    command = [sys.executable, "-m", "loracore", "trian"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (2, "error: no command 'trian'; did you mean 'train'?\n")


def test_letters_that_a_code_page_lacks_do_not_end_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    command = [sys.executable, "-m", "loracore", "train", "画像.toml"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr[:12]) == (2, b"error: ??.to")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_by_its_name_and_has_help(name: str) -> None:
    with click.Context(program) as ctx:
        command = program.get_command(ctx, name)
    assert command is not None
    assert command.help


@pytest.mark.parametrize("argv", [("plugins", "--frob"), ("options", "--arch"), ("--frob",)])
def test_a_usage_error_is_said_like_any_other(loracore: Call, argv: tuple[str, ...]) -> None:
    answer = loracore(*argv)
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert answer.err.startswith("error: ")


def test_without_a_command_the_help_is_shown(loracore: Call) -> None:
    answer = loracore()
    assert answer.code == 0
    assert all(name in answer.out for name in COMMANDS)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_exits_130(
    loracore: Call, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    def interrupted(_owned: object) -> None:
        raise interrupt

    monkeypatch.setattr("loracore.cli.choice.declare", interrupted)
    assert loracore("options").code == 130


def test_what_no_user_can_mend_keeps_its_traceback(loracore: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.cli.choice.declare", lambda _owned: declared.declare([("core", (1,))]))  # type: ignore[list-item]  # a bug on purpose
    with pytest.raises(TypeError):
        loracore("options")
