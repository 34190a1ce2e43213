from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from loracore.cli.resume_command import resume_command

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


def test_secrets_are_not_repeated() -> None:
    assert "s3cret" not in resume_command(["--wandb_api_key", "s3cret"], STATE, ["s3cret"])
