"""A configuration that is written reads back as the same one, and holds no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from loracore.cli.request import Request, read_request
from loracore.config.datasets import read_datasets
from loracore.config.written import config_text

WORDS = ("--arch", "sdxl", "--learning_rate", "1e-4", "--text_encoder_lr", "1e-5", "2e-5", "--lr_scheduler", "cosine")
ARGS = ("--network_args", "conv_dim=4", "rank_dropout=0.1", "--no_enable_bucket", "--metadata_title", 'é "\\')
SECRET = ("--huggingface_token", "hf_secret", "--wandb_api_key", "secret2")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def again(request: Request) -> Request:
    Path("again.toml").write_text(config_text(request.config, request.document, ["one\ntwo"]), encoding="utf-8")
    return read_request(["again.toml"])


def test_it_reads_back_as_the_same() -> None:
    request = read_request([*WORDS, *ARGS])
    assert dict(again(request).config) == dict(request.config)


def test_data_sets_of_the_file_come_along() -> None:
    Path("pictures").mkdir()
    text = "[general]\ncaption_extension = '.cap'\n[[datasets]]\nresolution = 64\n[[datasets.subsets]]\n"
    Path("run.toml").write_text(f"seed = 3\n{text}image_dir = 'pictures'\n", encoding="utf-8")
    other = again(read_request(["run.toml", *WORDS]))
    (dataset,) = read_datasets(other.config, other.document)
    assert (dataset.resolution, dataset.subsets[0].caption_extension) == ((64, 64), ".cap")


def test_secrets_and_defaults_stay_out() -> None:
    text = config_text(read_request([*WORDS, *SECRET]).config, None, leave_out={"lr_scheduler"})
    assert "secret" not in text
    assert set(tomli.loads(text)) == {"arch", "learning_rate", "text_encoder_lr"}
