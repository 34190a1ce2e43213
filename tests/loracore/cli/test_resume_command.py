from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from loracore import Event
from loracore.cli.choice import core_options
from loracore.cli.request import read_request
from loracore.cli.resume_command import StandingStates, resume_command
from loracore.cli.train import say_how_to_go_on
from loracore.config.flags import read_flags

pytestmark = pytest.mark.skipif(os.name == "nt", reason="quoting as POSIX shells do")
STATE = Path("out folder/toy-step00000003-state")


def words_of(*words: str) -> list[str]:
    return shlex.split(resume_command(words, STATE))


def test_the_command_repeats_every_word_and_resumes() -> None:
    assert words_of("a b.toml", "--seed", "1") == [
        *("loracore", "train", "a b.toml", "--seed", "1", "--resume", str(STATE))
    ]


@pytest.mark.parametrize(
    "before", [("--resume", "old"), ("--resume=old",), ("--initial_step", "3"), ("--initial-epoch=2",)]
)
def test_where_this_run_began_is_left_out(before: tuple[str, ...]) -> None:
    assert words_of("a.toml", *before, "--overwrite") == words_of("a.toml", "--overwrite")


def test_the_configuration_behind_a_flag_that_is_left_out_stays_the_configuration() -> None:
    line = words_of("--network_args", "conv_dim=4", "--resume", "latest", "run.toml")
    flags = read_flags(line[2:], core_options().options)
    assert flags.config == "run.toml"
    assert [(each.name, each.value) for each in flags.given] == [
        ("network_args", ("conv_dim=4",)),
        ("resume", str(STATE)),
    ]


def test_secrets_are_not_repeated() -> None:
    for words in (["--wandb_api_key", "s3cret"], ["--wandb-api-key=s3cret"]):
        line = resume_command(["a.toml", *words, "--seed", "1"], STATE, ["wandb_api_key"])
        assert shlex.split(line) == words_of("a.toml", "--seed", "1")


def test_the_newest_state_is_the_last_one_that_stands(tmp_path: Path) -> None:
    states = StandingStates()
    assert states.newest is None
    for step in (1, 2, 3):
        (tmp_path / str(step)).mkdir()
        states.happened(Event("saved", step, {"what": "state", "path": str(tmp_path / str(step))}))
    (tmp_path / "3").rmdir()
    assert states.newest == (2, tmp_path / "2")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (2, ["stopped; it is saved; go on (give --huggingface_token again) with:"]),
        (5, ["stopped; step 2 is the last that is saved; go on (give --huggingface_token again) with:"]),
    ],
)
def test_what_is_saved_and_the_command_are_told(
    toy_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], step: int, said: Sequence[str]
) -> None:
    states, words = StandingStates(), [str(toy_config), "--huggingface_token", "s3cret"]
    states.happened(Event("saved", 2, {"what": "state", "path": str(tmp_path)}))
    with click.Context(click.Command("train")) as context:
        context.args = words
        say_how_to_go_on(read_request(words).config, states, "stopped", step)
    again = ["loracore", "train", str(toy_config), "--resume", str(tmp_path)]
    assert capsys.readouterr().err.splitlines() == [*said, shlex.join(again)]


def test_a_run_that_has_saved_no_state_says_so(toy_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(click.Command("train")):
        say_how_to_go_on(read_request([str(toy_config)]).config, StandingStates(), "stopped", 5)
    assert capsys.readouterr().err.splitlines() == ["stopped; no state of it is saved"]
