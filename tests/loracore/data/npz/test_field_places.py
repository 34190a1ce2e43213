from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from loracore.config.dataset_spec import CaptionRules
from loracore.data.index import Index
from loracore.data.npz.field_places import (
    is_upright,
    newer_than_caption,
    newer_than_picture,
    presence,
    shared_files,
    spoken_as_written,
)
from loracore.data.reading import Reading
from loracore.data.scanning import scan

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Paint, Subset

SECOND = 10**9


@pytest.fixture
def captioned(paint: Paint, subset: Subset, dataset: Dataset) -> Index:
    """A picture of second 10, its caption of second 20."""
    path = paint("a.png")
    path.with_suffix(".txt").write_text("a dog", "utf-8")
    for suffix, second in ((".png", 10), (".txt", 20)):
        os.utime(path.with_suffix(suffix), ns=(second * SECOND,) * 2)
    return scan([dataset(subset())], Reading()).training


def written(path: Path, second: int) -> Path:
    path.write_bytes(b"")
    os.utime(path, ns=(second * SECOND,) * 2)
    return path


def test_presence_knows_the_npz_files_of_every_folder(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    there = presence()
    assert there(tmp_path / "a.npz")
    assert not there(tmp_path / "b.npz")
    assert not there(tmp_path / "nowhere" / "a.npz")


def test_a_file_of_two_owners_is_shared() -> None:
    one, two = Path("1.npz"), Path("2.npz")
    assert shared_files([(one, "a"), (two, "b"), (one, "c"), (two, "b")]) == {one}


@pytest.mark.parametrize(("second", "picture", "caption"), [(9, False, False), (10, True, False), (20, True, True)])
def test_a_file_is_as_new_as_what_it_is_of(
    captioned: Index, tmp_path: Path, second: int, picture: bool, caption: bool
) -> None:
    path = written(tmp_path / "a.npz", second)
    assert newer_than_picture(path, captioned, 0) is picture
    assert newer_than_caption(path, captioned, 0) is caption


def test_a_file_that_is_gone_is_not_new(captioned: Index, tmp_path: Path) -> None:
    assert not newer_than_picture(tmp_path / "gone.npz", captioned, 0)


def test_class_tokens_have_no_time(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("a.png")
    index = scan([dataset(subset(class_tokens="sks dog"))], Reading()).training
    assert not newer_than_caption(written(tmp_path / "a.npz", 2**32), index, 0)


def test_captions_of_a_list_are_as_old_as_the_list(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    paint("a.png")
    listed = tmp_path / "list.json"
    listed.write_text('{"a.png": {"caption": "a dog"}}', "utf-8")
    os.utime(listed, ns=(50 * SECOND,) * 2)
    index = scan([dataset(subset(metadata_file=listed))], Reading()).training
    found = [newer_than_caption(written(tmp_path / "a.npz", second), index, 0) for second in (49, 50)]
    assert found == [False, True]


def test_a_turned_picture_is_not_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    for name, orientation in (("a.jpg", 1), ("b.jpg", 6)):
        exif[0x0112] = orientation
        Image.new("RGB", (8, 4)).save(tmp_path / name, exif=exif)
    assert [is_upright(tmp_path / name) for name in ("a.jpg", "b.jpg", "gone.jpg")] == [True, False, False]


@pytest.mark.parametrize(
    ("rules", "as_written"),
    [
        ({}, True),
        ({"caption_dropout_rate": 0.5}, True),
        ({"keep_tokens": 1}, True),
        ({"caption_prefix": "photo of"}, False),
        ({"caption_suffix": "!"}, False),
        ({"secondary_separator": "and"}, False),
        ({"keep_tokens_separator": "and"}, False),
        ({"shuffle_caption": True}, False),
        ({"caption_tag_dropout_rate": 0.1}, False),
        ({"enable_wildcard": True}, False),
        ({"token_warmup_step": 5}, False),
    ],
)
def test_rules_at_work_change_what_is_spoken(rules: dict[str, Any], as_written: bool) -> None:
    assert spoken_as_written("a cat and a dog, sitting", CaptionRules(**rules)) is as_written
