"""``--print_config`` and ``--output_config``: what the words mean, as a file; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from tests.loracore.cli.conftest import Call

RUN = ("train", "--arch", "sdxl", "--network_dim", "8", "--huggingface_token", "hf_secret")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_configuration_is_printed(loracore: Call) -> None:
    Path("c.toml").write_text("[a]\nseed = 1\n[b]\nseed = 2\n", encoding="utf-8")
    answer = loracore(*RUN, "--print-config", "c.toml")
    assert (answer.code, tomli.loads(answer.out)) == (0, {"arch": "sdxl", "network_dim": 8, "seed": 2})
    assert "note: c.toml:4: 'seed' stands in c.toml:2 too" in answer.err
    assert "hf_secret" not in answer.err + answer.out


def test_the_configuration_is_written(loracore: Call) -> None:
    answer = loracore(*RUN, "--output_config", "--config_file", "new/run")
    assert (answer.code, answer.out.strip()) == (0, str(Path("new/run.toml")))
    text = Path("new/run.toml").read_text("utf-8")
    assert (tomli.loads(text), "hf_secret" in text) == ({"arch": "sdxl", "network_dim": 8}, False)
    assert tomli.loads(loracore("targets", "new/run.toml", "--print_config").out) == tomli.loads(text)


def test_a_level_that_counts_when_it_is_given_is_not_lost(loracore: Call) -> None:
    assert (
        tomli.loads(loracore(*RUN, "--console_log_level", "INFO", "--print_config").out)["console_log_level"] == "INFO"
    )


def test_a_file_is_replaced_only_when_asked_to(loracore: Call) -> None:
    Path("c.toml").write_text("old", encoding="utf-8")
    answer = loracore(*RUN, "--config_file", "c", "--output_config")
    assert (answer.code, answer.errors) == (2, ["c.toml: this file exists already (give --overwrite, or another name)"])
    assert loracore(*RUN, "--config_file", "c", "--output_config", "--overwrite").code == 0
    assert "overwrite" not in tomli.loads(Path("c.toml").read_text("utf-8"))


def test_without_a_name_there_is_nothing_to_write(loracore: Call) -> None:
    assert loracore(*RUN, "--output_config").errors[0].startswith("--output_config: output_config needs the name")


def test_wrong_options_are_not_written(loracore: Call) -> None:
    assert loracore(*RUN, "--netwrok_dim", "8", "--output_config", "c.toml").code == 2
    assert not Path("c.toml").exists()


@pytest.mark.parametrize("word", ["--huggingface_token=1", "--wandb_api_key"])
def test_messages_do_not_repeat_a_secret(loracore: Call, word: str) -> None:
    Path("c.toml").write_text("huggingface_token = ['hf_hidden']\n", encoding="utf-8")
    answer = loracore("train", "c.toml", "--arch", "sdxl", word, "77123", "77124", "--print_config")
    assert answer.code == 2
    assert not any(each in answer.err + answer.out for each in ("hf_hidden", "77123", "77124"))
