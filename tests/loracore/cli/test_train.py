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
