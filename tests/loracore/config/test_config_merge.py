"""The field's configuration files: each case of its reader gives the same values, or is an error with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore import ConfigError
from loracore.cli.request import read_request

CASES = json.loads((Path(__file__).parents[2] / "data" / "training.json").read_text("utf-8"))["config_merge"]["cases"]

#: What the field takes, or crashes over later, and we refuse at once: case → a part of what is said.
REFUSED = {
    "typo kept silently as an unused attribute": "did you mean 'network_dim'?",
    "choices are not checked": "did you mean 'bf16'?",
    "nested table inside a section stays a dict": "sections are one level deep",
    "command line abbreviation is accepted": "write --network_dim",
    "wrong type is not converted": "max_train_steps: must be a whole number",
    "list option on command line replaces the list": "unknown key 'a'",  # nobody declares it
    "unknown command line option is an error": "did you mean 'network_dim'?",
    "missing file": "no such file",
    "warmup float from TOML is a ratio, int is steps": "the constant schedule has no warm-up",
}
#: What the field refuses and we take.
TAKEN: dict[str, dict[str, Any]] = {
    "dashes are not accepted": {"network_dim": 4},
    "flag false": {"cache_latents": False},  # on without it
}
#: Options that stand in network_args as well.
SECOND_DOOR = frozenset({"conv_dim", "conv_alpha", "rank_dropout"})


def read(case: dict[str, Any], folder: Path, extension: str = "") -> dict[str, Any]:
    if case["toml"] is not None:
        (folder / "c.toml").write_text(case["toml"], encoding="utf-8")
    request = read_request(["--arch", "sdxl", "--config_file", f"c{extension}", *case["cli"]])
    return {name: value for name, value in request.config if request.config.given(name) and name != "arch"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", [one for one in CASES if one["case"] not in REFUSED], ids=lambda one: one["case"])
def test_the_values_are_the_fields(case: dict[str, Any], tmp_path: Path) -> None:
    theirs = {name: value for name, value in case["non_default_result"].items() if name not in {"config_file", "exit"}}
    wanted = {**theirs, **TAKEN.get(case["case"], {})}
    if "text_encoder_lr" in wanted:
        wanted["text_encoder_lr"] = [wanted["text_encoder_lr"]]  # one of a list
    ours = json.loads(json.dumps(read(case, tmp_path)))
    assert {name: value for name, value in ours.items() if name not in SECOND_DOOR} == wanted


@pytest.mark.parametrize("case", [one for one in CASES if one["case"] in REFUSED], ids=lambda one: one["case"])
def test_the_rest_is_refused(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(case, tmp_path)
    assert REFUSED[case["case"]] in str(caught.value)


def test_numbers_in_quotes_are_numbers(tmp_path: Path) -> None:
    case = {"toml": 'network_dim="8"\nlearning_rate="1e-4"\n', "cli": []}
    assert read(case, tmp_path) == {"network_dim": 8, "learning_rate": 1e-4}


def test_warm_up_and_decay_are_shares_or_steps(tmp_path: Path) -> None:
    text = 'lr_scheduler="warmup_stable_decay"\nlr_warmup_steps=10\nlr_decay_steps=0.1\n'
    assert read({"toml": text, "cli": []}, tmp_path) == {
        "lr_scheduler": "warmup_stable_decay",
        "lr_warmup_steps": 10,
        "lr_decay_steps": 0.1,
    }


def test_a_list_on_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    case = {"toml": 'network_args=["conv_dim=4"]\n', "cli": ["--network_args", "rank_dropout=0.5"]}
    assert read(case, tmp_path, ".toml") == {"network_args": ("rank_dropout=0.5",), "rank_dropout": 0.5}


def test_what_a_file_turns_on_the_command_line_turns_off(tmp_path: Path) -> None:
    assert read({"toml": "flip_aug=true\n", "cli": ["--no_flip_aug"]}, tmp_path) == {"flip_aug": False}


def test_two_files_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "a.toml").touch()
    with pytest.raises(ConfigError, match=r"unexpected word .*CONFIG is 'a.toml' already"):
        read_request(["a.toml", "--config_file", "b.toml", "--arch", "sdxl"])
