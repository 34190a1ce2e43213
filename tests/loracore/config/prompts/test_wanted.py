from __future__ import annotations

from pathlib import Path

import pytest

from loracore import Config
from loracore.config.options import PreviewOptions
from loracore.config.prompts.wanted import preview_texts, wanted_prompts
from loracore.errors import ConfigError


def config_of(folder: Path, text: str, *, at_first: bool = True) -> Config:
    path = folder / "prompts.txt"
    path.write_text(text, encoding="utf-8")
    return Config([PreviewOptions(sample_prompts=str(path), sample_at_first=at_first)], {})


def test_text_encoders_read_prompts_and_what_is_unwanted_once(tmp_path: Path) -> None:
    prompts = wanted_prompts(config_of(tmp_path, "a cat\na dog --n blurry\na cat --n blurry\n"))
    assert preview_texts(prompts) == ("a cat", "", "a dog", "blurry")


def test_without_a_moment_nothing_is_wanted(tmp_path: Path) -> None:
    assert wanted_prompts(config_of(tmp_path, "a cat\n", at_first=False)) == ()
    assert wanted_prompts(Config([PreviewOptions(sample_at_first=True)], {})) == ()


def test_all_that_is_wrong_is_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        wanted_prompts(config_of(tmp_path, "a --w x\nb --s x\n"))
    assert [problem.where.rpartition(":")[2] for problem in caught.value.problems] == ["1", "2"]
