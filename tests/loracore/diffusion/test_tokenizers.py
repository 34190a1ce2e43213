from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loracore.diffusion.folders import LocalFolder
from loracore.diffusion.tokenizers import find_tokenizer
from loracore.errors import DataError
from loracore.testing import tiny_models


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_models.write_tokenizer(tmp_path / "model" / "tokenizer")
    return tmp_path / "model"


@pytest.fixture
def _no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_tokenizer_of_the_model_comes_first(model: Path) -> None:
    tokenizer = find_tokenizer(LocalFolder(model), "tokenizer", "owner/name", None)
    assert tokenizer("a b")["input_ids"] == [512, ord("a") - 33 + 256, ord("b") - 33 + 256, 513]


def test_tokenizer_of_the_users_folder_comes_next(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tiny_models.write_tokenizer(cache / "owner_name")
    assert find_tokenizer(LocalFolder(model), "tokenizer_2", "owner/name", str(cache)).eos_token_id == 513


def test_users_folder_may_stand_in_the_home_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny_models.write_tokenizer(tmp_path / "cache" / "owner_name")
    assert find_tokenizer(LocalFolder(model), "tokenizer_2", "owner/name", "~/cache").eos_token_id == 513


@pytest.mark.usefixtures("_no_hub")
def test_error_says_where_to_put_a_tokenizer_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"<tokenizer_cache_dir>/owner_name"):
        find_tokenizer(LocalFolder(tmp_path), "tokenizer", "owner/name", None)


@pytest.mark.usefixtures("_no_hub")
def test_tokenizer_without_its_vocabulary_is_never_made_up(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer" / "vocab.json").unlink()
    (tmp_path / "cache" / "owner_name").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be downloaded"):
        find_tokenizer(LocalFolder(model), "tokenizer", "owner/name", str(tmp_path / "cache"))


def test_tokenizer_from_the_hub_is_kept_in_the_users_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub" / "models--owner--name"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc", encoding="utf-8")
    shutil.copytree(model / "tokenizer", hub / "snapshots" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache, nothing = tmp_path / "cache", LocalFolder(tmp_path)
    first = find_tokenizer(nothing, "tokenizer", "owner/name", str(cache))
    shutil.rmtree(hub)
    again = find_tokenizer(nothing, "tokenizer", "owner/name", str(cache))
    assert first("a cat")["input_ids"] == again("a cat")["input_ids"]


def test_damaged_tokenizer_is_told_with_its_folder(model: Path) -> None:
    (model / "tokenizer" / "vocab.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="tokenizer cannot be read"):
        find_tokenizer(LocalFolder(model), "tokenizer", "owner/name", None)
