"""What an architecture cannot take of the data sets is told before torch is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.loracore.cli.conftest import Answer, Call

STEPS = "data set 1 (pictures): bucket_reso_steps is 8, but this model needs multiples of 32 pixels (use 32 or 64)"
ODD = ("--train_data_dir", "pictures", "--resolution", "512", "--enable_bucket", "--bucket_reso_steps", "8")
RUN = ("--arch", "sdxl", "--pretrained_model_name_or_path", "owner/name")


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    Image.new("RGB", (512, 512)).save("pictures/a.png")


@pytest.mark.parametrize("words", [("train", *RUN, "--output_dir", "out"), ("cache", *RUN)])
def test_sizes_that_the_architecture_cannot_take_are_refused(imports: Callable[..., Answer], words: list[str]) -> None:
    answer = imports(*words, *ODD)
    assert (answer.code, answer.errors) == (2, [f"--train_data_dir: {STEPS}"])
    assert answer.out.split() == []  # the names of what is heavy
    assert not Path("out").exists()


def test_check_says_them_too(loracore: Call) -> None:
    answer = loracore("check", "--arch", "sdxl", *ODD)
    assert (answer.code, f"wrong: --train_data_dir: {STEPS}" in answer.out.splitlines()) == (1, True)
    assert "wrong" not in loracore("check", "--arch", "sdxl", *ODD[:-1], "32").out.replace("nothing is wrong", "")


def test_check_says_an_option_without_effect_once(loracore: Call) -> None:
    assert loracore("check", "--arch", "sdxl", *ODD, "--clip_skip", "2").out.count("note: --clip_skip: ") == 1


def test_everything_that_options_get_wrong_is_said_at_once(imports: Callable[..., Answer]) -> None:
    Path("out").mkdir()
    Path("out/last.safetensors").touch()
    wrong = ["--optimizer_type", "Adamm", "--optimizer_args", "betaz=3", "foo", "--resume", "nowhere"]
    wrong += ["--lr_scheduler", "polynomial", "--lr_scheduler_args", "foo=2", "bar=3", "--sample_prompts", "none.txt"]
    wrong += ["--min_timestep", "x", "--noise_offset", "0.1"]
    answer = imports("train", *RUN, *ODD, *wrong, "--output_dir", "out")
    assert (answer.code, answer.out.split()) == (2, [])
    exists = "this result exists already (give --overwrite to replace it, or another --output_name)"
    assert sorted(answer.errors) == [
        "--lr_scheduler_args: polynomial takes no argument 'bar'",
        "--lr_scheduler_args: polynomial takes no argument 'foo'",
        "--min_timestep: must be a whole number, at least 0, at most 999, not 'x'",
        "--optimizer_args: 'foo' is not key=value",
        "--optimizer_type: no optimizer is called 'Adamm' (did you mean 'Adam'?)",
        "--resume: there is no state nowhere (give a state's folder or 'latest', or leave --resume out)",
        "--sample_prompts: no such file of prompts (check the path, or leave it out)",
        f"{Path('out/last.safetensors')}: {exists}",
    ]


def test_arguments_of_an_optimizer_are_known_before_it_is_imported(imports: Callable[..., Answer]) -> None:
    wrong = ["--optimizer_args", "betaz=3", "weight_decay=abc", "--lr_scheduler_type", "StepLR"]
    wrong += ["--lr_scheduler_args", "gama=2", "--output_dir", "out"]
    answer = imports("train", *RUN, *ODD[:-2], *wrong)
    assert (answer.code, answer.out.split()) == (2, [])
    assert answer.errors == [
        "--optimizer_args: AdamW takes no argument 'betaz' (did you mean 'betas'?)",
        "--optimizer_args: AdamW cannot take weight_decay=abc, which is text (its default is 0.01)",
        "--lr_scheduler_args: StepLR takes no argument 'gama' (did you mean 'gamma'?)",
    ]
