from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loracore.config.dataset_spec import CaptionRules, DatasetSpec
from loracore.data.bucket_table import BucketRow, bucket_table
from loracore.data.index import Index, joined_indexes
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.data.summary import dataset_metadata
from loracore.data.unchanging import unchanging

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Paint, Subset


@pytest.fixture
def two_folders(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> DatasetSpec:
    for name, size, caption in (
        ("dog/a.png", (512, 512), "Dog, snow"),
        ("dog/b.png", (512, 512), "dog"),
        ("cat/c.png", (768, 512), ""),
    ):
        paint(name, size).with_suffix(".txt").write_text(caption, "utf-8")
    affixed = CaptionRules(caption_prefix="photo,")
    folders = subset(tmp_path / "dog", num_repeats=3, captions=affixed), subset(tmp_path / "cat")
    return dataset(*folders, resolution=(512, 512), enable_bucket=True)


@pytest.fixture
def index(two_folders: DatasetSpec) -> Index:
    return scan([two_folders], Reading()).training


def test_the_bucket_table_counts_pictures_and_samples(index: Index) -> None:
    square, wide = bucket_table(index, [4])
    assert square == BucketRow(0, (512, 512), 2, 6, 2, 0.0, 0.0)
    assert (wide.size, wide.pictures, wide.samples, wide.batches) == ((640, 384), 1, 1, 1)


def test_pictures_are_counted_with_their_repeats(index: Index, two_folders: DatasetSpec) -> None:
    assert dataset_metadata(index, [two_folders])["ss_num_train_images"] == "7"


def test_bucket_info_has_the_mean_error(index: Index, two_folders: DatasetSpec) -> None:
    assert json.loads(dataset_metadata(index, [two_folders])["ss_bucket_info"]) == {
        "buckets": {"0": {"resolution": [512, 512], "count": 6}, "1": {"resolution": [640, 384], "count": 1}},
        "mean_img_ar_error": pytest.approx((640 / 384 - 768 / 512) / 3),
    }


def test_tags_are_those_of_the_files_by_folder(index: Index, two_folders: DatasetSpec) -> None:
    tags = json.loads(dataset_metadata(index, [two_folders])["ss_tag_frequency"])
    assert tags == {"dog": {"dog": 2, "snow": 1}, "cat": {}}


def test_folders_of_one_name_are_told_apart(two_folders: DatasetSpec) -> None:
    index = scan([two_folders, two_folders], Reading()).training
    dirs = json.loads(dataset_metadata(index, [two_folders, two_folders])["ss_dataset_dirs"])
    assert list(dirs) == ["dog", "cat", "dog (2)", "cat (2)"]
    assert dirs["dog"] == {"n_repeats": 3, "img_count": 2}


def test_several_data_sets_have_no_single_size(index: Index, two_folders: DatasetSpec) -> None:
    assert "ss_resolution" not in dataset_metadata(index, [two_folders, two_folders])
    assert dataset_metadata(index, [two_folders])["ss_resolution"] == "(512, 512)"


def test_every_value_is_text(index: Index, two_folders: DatasetSpec) -> None:
    assert all(isinstance(value, str) for value in dataset_metadata(index, [two_folders]).values())


def test_each_data_set_is_described(index: Index, two_folders: DatasetSpec) -> None:
    (described,) = json.loads(dataset_metadata(index, [two_folders])["ss_datasets"])
    assert described["resolution"] == [512, 512]
    assert [(one["image_dir"], one["img_count"]) for one in described["subsets"]] == [("dog", 2), ("cat", 1)]


def test_pictures_held_out_are_not_among_those_trained_on(two_folders: DatasetSpec) -> None:
    split = replace(two_folders, validation_split=0.5)
    scanned = scan([split], Reading())
    assert len(scanned.validation)
    both = joined_indexes(scanned.training, unchanging(scanned.validation)).take(np.arange(len(scanned.training)))
    assert dataset_metadata(both, [split]) == dataset_metadata(scanned.training, [split])
    assert json.loads(dataset_metadata(both, [split])["ss_dataset_dirs"])["dog"]["img_count"]


def test_without_buckets_there_are_no_bounds(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    spec = dataset(subset())
    found = dataset_metadata(scan([spec], Reading()).training, [spec])
    assert (found["ss_bucket_info"], found["ss_min_bucket_reso"]) == ("null", "None")


def test_of_a_list_only_tags_are_counted(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("a.png")
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"a.png": {"caption": "a dog, asleep", "tags": "Dog, snow"}}), "utf-8")
    spec = dataset(subset(metadata_file=listed))
    found = dataset_metadata(scan([spec], Reading()).training, [spec])
    assert json.loads(found["ss_tag_frequency"]) == {"list.json": {"dog": 1, "snow": 1}}
