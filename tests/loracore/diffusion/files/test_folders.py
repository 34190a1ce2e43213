from __future__ import annotations

from pathlib import Path

import pytest

from loracore.diffusion.files.folders import HubFolder, LocalFolder, looks_like_hub_id, open_folder, read_config
from loracore.errors import DataError


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("stabilityai/some-model_1.0", True),
        ("name", False),
        ("a/b/c", False),
        ("./a/b", False),
        ("/a", False),
        ("C:\\a\\b", False),
        ("a/b c", False),
        ("~/models", False),
        ("../models", False),
    ],
)
def test_hub_ids_are_told_from_paths(text: str, is_id: bool) -> None:
    assert looks_like_hub_id(text) == is_id


def test_existing_folder_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert isinstance(open_folder("owner/name"), LocalFolder)
    assert isinstance(open_folder("owner/other"), HubFolder)


def test_what_is_neither_folder_nor_hub_id_is_an_error() -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_folder("./nowhere/at/all")


def test_missing_configuration_is_none_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert read_config(folder, "config.json") is None
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"config\.json"):
            read_config(folder, "config.json")


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert open_folder("~/model") == LocalFolder(tmp_path / "model")


def test_tilde_of_nobody_is_a_missing_folder() -> None:
    with pytest.raises(DataError, match="~nobody-of-this-name/model"):
        open_folder("~nobody-of-this-name/model")
