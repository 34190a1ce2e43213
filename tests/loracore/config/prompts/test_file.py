from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore.config.checking import check
from loracore.config.declared import declare
from loracore.config.flags import read_flags
from loracore.config.options import CORE_OPTIONS, PreviewOptions
from loracore.config.prompts.file import PromptFile, read_prompts
from loracore.errors import ConfigError


def written(folder: Path, suffix: str, text: str) -> Path:
    path = folder / f"prompts.{suffix}"
    path.write_text(text, encoding="utf-8")
    return path


def wrong(found: PromptFile) -> list[str]:
    return [f"{remark.where}: {remark.message}" for remark in found.remarks if remark.fate == "wrong"]


@pytest.mark.parametrize("suffix", ["txt", "toml", "json"])
def test_files_have_the_fields_values_in_their_order(data: Path, tmp_path: Path, suffix: str) -> None:
    golden: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))["prompt_files"][suffix]
    found = read_prompts(written(tmp_path, suffix, golden["text"]))
    assert [{**values, "enum": place} for place, (values, _) in enumerate(found.values)] == golden["result"]
    assert found.remarks == ()


def test_every_bad_line_is_named_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path, "txt", "# a comment\na cat --w x\n\na dog --ss eular --w 0\n")
    places = [line.partition(": ")[0] for line in wrong(read_prompts(path))]
    assert places == [f"{path}:2", f"{path}:4", f"{path}:4"]


def test_every_bad_value_of_a_toml_file_is_named(tmp_path: Path) -> None:
    text = '[prompt]\nwidht = 64\n[[prompt.subset]]\nprompt = "a"\nscale = "high"\n[[prompt.subset]]\nprompt = 3\n'
    path = written(tmp_path, "toml", text)
    found = wrong(read_prompts(path))
    assert found[0] == f"{path}:3: unknown key 'widht'"
    assert f"{path}:3: scale is 'high', but should be a number that is not below 0" in found
    assert f"{path}:6: prompt is 3, but should be text" in found


def test_a_value_of_a_subset_wins_over_that_of_all(tmp_path: Path) -> None:
    text = '[prompt]\nscale = 3.0\n[[prompt.subset]]\nprompt = "a"\nscale = 5\n'
    (prompt,) = read_prompts(written(tmp_path, "toml", text)).prompts
    assert prompt.scale == 5


def test_the_fields_defaults_and_floored_sides(tmp_path: Path) -> None:
    first, second = read_prompts(written(tmp_path, "txt", "a\nb --w 100 --h 9 --fs 2\n")).prompts
    assert (first.width, first.height, first.sample_steps, first.scale, first.seed) == (512, 512, 30, 7.5, None)
    assert (second.width, second.height, second.flow_shift) == (96, 64, 2)


def test_samplers_are_named_in_letters_of_either_case(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "txt", "a --ss Euler_A\nb --ss DPMSolver++\n"))
    assert wrong(found) == []
    assert [prompt.sample_sampler for prompt in found.prompts] == ["euler_a", "dpmsolver++"]
    declared = declare([("core", CORE_OPTIONS)])
    checked = check([read_flags(["--sample_sampler=K_Euler"], declared.options).given], declared)
    assert checked.config is not None
    assert checked.config[PreviewOptions].sample_sampler == "k_euler"


def test_values_that_change_nothing_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "txt", "a --g 3.5 --cn x.png --ctr 0.2 --rcfg 1 --w 100\n")
    messages = [remark.message for remark in read_prompts(path).remarks]
    keys = ["guidance_scale", "controlnet_image", "cfg_trunc_ratio", "renorm_cfg", "width"]
    assert [message.split()[0] for message in messages] == keys
    assert wrong(read_prompts(path)) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("prompts.csv", "a", "ends in .txt, .toml, .json, not in '.csv'"),
        ("none.txt", None, "no such file of prompts"),
        ("prompts.json", '["a",', "JSON syntax error"),
        ("prompts.json", '{"prompt": "a"}', "should be a list"),
        ("prompts.toml", "[prompt", "TOML syntax error"),
    ],
)
def test_files_that_cannot_be_read_are_errors(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_prompts(path)


def test_text_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"a cat\na caf\xe9\n")
    with pytest.raises(ConfigError, match=r"prompts\.txt:2: this is not UTF-8"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("suffix", "text"), [("txt", "# nothing\n"), ("toml", "[prompt]\nwidth = 64\n"), ("json", "[]")]
)
def test_a_file_without_prompts_is_wrong(tmp_path: Path, suffix: str, text: str) -> None:
    assert [line.split(": ")[-1] for line in wrong(read_prompts(written(tmp_path, suffix, text)))] == [
        "the file holds no prompt"
    ]
