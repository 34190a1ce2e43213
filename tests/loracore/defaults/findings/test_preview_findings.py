from __future__ import annotations

from pathlib import Path

import pytest

from loracore import Config, ModelOptions
from loracore.config.config import Finding
from loracore.config.options import PreviewOptions
from loracore.defaults.findings.preview_findings import preview_findings


def findings(*given: str, **options: object) -> list[tuple[str, str]]:
    table = PreviewOptions(**options)  # type: ignore[arg-type]  # tests give the right types
    config = Config([ModelOptions(), table], {name: f"--{name}" for name in (*given, *options)})
    return [(finding.fate, finding.option) for finding in preview_findings(config)]


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\n", encoding="utf-8")
    return str(path)


def test_sound_previews_are_left_alone(prompts: str) -> None:
    assert findings(sample_prompts=prompts, sample_every_n_epochs=1) == []
    assert findings() == []
    assert findings(sample_every_n_steps=0) == []


@pytest.mark.parametrize("name", ["sample_at_first", "sample_every_n_steps", "sample_every_n_epochs"])
def test_a_moment_without_prompts_is_wrong(name: str) -> None:
    assert findings(**{name: name == "sample_at_first" or 1}) == [("wrong", name)]


def test_prompts_without_a_moment_do_nothing(prompts: str) -> None:
    assert findings(sample_prompts=prompts, sample_every_n_steps=0) == [("without effect", "sample_prompts")]
    found = findings(sample_prompts="none.txt")
    assert found == [("without effect", "sample_prompts"), ("wrong", "sample_prompts")]


def test_steps_do_nothing_beside_epochs(prompts: str) -> None:
    found = findings(sample_prompts=prompts, sample_every_n_steps=1, sample_every_n_epochs=1)
    assert found == [("without effect", "sample_every_n_steps")]


def test_a_sampler_without_previews_does_nothing() -> None:
    assert findings(sample_sampler="euler") == [("without effect", "sample_sampler")]


def test_all_that_is_wrong_with_the_file_is_found_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a --w x\nb --g 2\nc --ss eular\n", encoding="utf-8")
    config = Config([PreviewOptions(sample_prompts=str(path), sample_at_first=True)], {})
    found: list[Finding] = list(preview_findings(config))
    fates = [("wrong", f"{path}:1"), ("without effect", f"{path}:2"), ("wrong", f"{path}:3")]
    assert [(one.fate, one.where) for one in found] == fates


def test_a_missing_file_is_wrong(tmp_path: Path) -> None:
    assert findings(sample_prompts=str(tmp_path / "none.txt"), sample_at_first=True) == [("wrong", "sample_prompts")]
