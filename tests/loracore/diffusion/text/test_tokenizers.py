from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import T5Tokenizer

from loracore.diffusion.files.folders import LocalFolder
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.text.tokenizers import find_t5_tokenizer, find_tokenizer
from loracore.errors import DataError
from loracore.testing import tiny_models
from tests.loracore.diffusion.text.test_sentencepiece import piece


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


@pytest.fixture
def t5_model(tmp_path: Path) -> Path:
    tiny_models.write_t5_tokenizer(tmp_path / "t5" / "tokenizer_3")
    return tmp_path / "t5"


def test_t5_tokenizer_pads_behind_the_end_and_tells_what_is_text(t5_model: Path) -> None:
    tokenizer = find_t5_tokenizer(LocalFolder(t5_model), "tokenizer_3", "owner/name", None)
    ids, mask = tokenizer.ids(["ab", ""], 6)
    letters = [tiny_models.T5_PIECES.index(piece) for piece in ("▁", "a", "b")]
    assert ids.tolist() == [[*letters, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]]


def test_longer_captions_are_cut_and_end_all_the_same(t5_model: Path) -> None:
    tokenizer = find_t5_tokenizer(LocalFolder(t5_model), "tokenizer_3", "owner/name", None)
    ids, mask = tokenizer.ids(["a b c d e f g h"], 5)
    assert (ids.shape, ids[0, -1].item(), mask.sum().item()) == ((1, 5), 1, 5)
    assert torch.equal(ids[:, :4], tokenizer.ids(["a b c d e f g h"], 50)[0][:, :4])


def test_t5_tokenizer_is_the_librarys_own(t5_model: Path) -> None:
    captions = ["a cat", "", "“quoted”, and more"]
    own = find_t5_tokenizer(LocalFolder(t5_model), "tokenizer_3", "owner/name", None).ids(captions, 40)
    with quiet_libraries():
        whole = T5Tokenizer.from_pretrained(t5_model / "tokenizer_3")(
            captions, padding="max_length", truncation=True, max_length=40, return_tensors="pt"
        )
    assert torch.equal(own[0], whole.input_ids)
    assert torch.equal(own[1], whole.attention_mask)


def test_t5_tokenizer_may_be_a_sentencepiece_file(t5_model: Path, tmp_path: Path) -> None:
    pieces = b"".join(
        piece(text, 0.0 if number < 3 else -2.0, 2 if number == 2 else 1)
        for number, text in enumerate(tiny_models.T5_PIECES)
    )
    (tmp_path / "cache" / "owner_name").mkdir(parents=True)
    (tmp_path / "cache" / "owner_name" / "spiece.model").write_bytes(pieces)
    of_pieces = find_t5_tokenizer(LocalFolder(tmp_path), "tokenizer_3", "owner/name", str(tmp_path / "cache"))
    joint = find_t5_tokenizer(LocalFolder(t5_model), "tokenizer_3", "owner/name", None)
    assert torch.equal(of_pieces.ids(["a cat, sat"], 20)[0], joint.ids(["a cat, sat"], 20)[0])


@pytest.mark.usefixtures("_no_hub")
def test_error_says_where_to_put_a_t5_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"<tokenizer_cache_dir>/owner_name"):
        find_t5_tokenizer(LocalFolder(tmp_path), "tokenizer_3", "owner/name", None)


@pytest.mark.parametrize(("name", "content"), [("tokenizer.json", "{"), ("spiece.model", "version https://git-lfs")])
def test_damaged_t5_tokenizer_is_told_with_its_folder(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="tokenizer cannot be read") as caught:
        find_t5_tokenizer(LocalFolder(tmp_path), ".", "owner/name", None)
    assert caught.value.problems[0].where == str(tmp_path)


def test_another_models_tokenizer_is_no_t5_tokenizer(tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"[PAD]": 0}, "[PAD]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="no </s> and no <pad>"):
        find_t5_tokenizer(LocalFolder(tmp_path), ".", "owner/name", None)


def test_t5_tokenizer_from_the_hub_is_kept_in_the_users_folder(
    t5_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loracore.diffusion.text.tokenizers.HubFolder", lambda _: LocalFolder(t5_model / "tokenizer_3"))
    first = find_t5_tokenizer(LocalFolder(tmp_path), "tokenizer_3", "owner/name", str(tmp_path / "cache"))
    shutil.rmtree(t5_model)
    again = find_t5_tokenizer(LocalFolder(tmp_path), "tokenizer_3", "owner/name", str(tmp_path / "cache"))
    assert torch.equal(first.ids(["a cat"], 9)[0], again.ids(["a cat"], 9)[0])
