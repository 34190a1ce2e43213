"""A header's keys in groups, and what its JSON says of pictures and tags; rubbish in it is no error."""

from __future__ import annotations

import json

import pytest

from loracore.weights.inspect.header_notes import Folder, folders, grouped, top_tags


def test_keys_stand_in_groups() -> None:
    keys = [
        "ss_sd_model_name",
        "ss_network_dim",
        "ss_steps",
        "ss_tag_frequency",
        "modelspec.title",
        "sshs_model_hash",
        "x",
    ]
    found = grouped(dict.fromkeys(keys, "1"))
    assert {group: list(names) for group, names in found.items()} == {
        "base model": ["ss_sd_model_name"],
        "network": ["ss_network_dim"],
        "data sets": ["ss_tag_frequency"],
        "training": ["ss_steps"],
        "modelspec": ["modelspec.title"],
        "hashes": ["sshs_model_hash"],
        "other": ["x"],
    }


def test_folders_have_pictures_and_repeats() -> None:
    said = {"ss_dataset_dirs": json.dumps({"5_cat": {"n_repeats": 5, "img_count": 12}})}
    assert folders(said) == (Folder("5_cat", 12, 5),)


def test_tags_of_all_folders_are_counted_together() -> None:
    said = {"ss_tag_frequency": json.dumps({"a": {"cat": 3, " dog": 1}, "b": {"dog": 4, "fish": 1}})}
    assert top_tags(said, 2) == [("dog", 5), ("cat", 3)]


@pytest.mark.parametrize("text", ["", "None", "[1]", "{", '{"a": 3}', '{"a": {"cat": "many"}}'])
def test_rubbish_says_nothing(text: str) -> None:
    assert top_tags({"ss_tag_frequency": text}, 3) == []
    assert all(folder.pictures == 0 for folder in folders({"ss_dataset_dirs": text}))
