from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.data.reading import Reading
from loracore.data.scanning import Scanned, scan

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from loracore.data.index import Index
    from tests.loracore.data.conftest import Dataset, Paint, Subset

no_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own")


def split(*datasets: DatasetSpec) -> Scanned:
    return scan(datasets, Reading())


def names_of(index: Index) -> list[str]:
    return [index.path(row).name for row in range(len(index))]


@pytest.fixture
def ten(paint: Paint, tmp_path: Path) -> Path:
    for number in range(10):
        paint(f"a/{number}.png")
    (tmp_path / "b").mkdir()
    return tmp_path / "a"


def test_a_folder_written_in_another_way_is_held_out_too(
    ten: Path, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    found = split(dataset(subset(ten), validation_split=0.3), dataset(subset(tmp_path / "b" / ".." / "a")))
    assert (len(found.training), len(found.validation)) == (14, 3)
    assert not set(names_of(found.training)) & set(names_of(found.validation))


@no_links
def test_a_linked_folder_is_held_out_too(ten: Path, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ten)
    found = split(dataset(subset(tmp_path / "link"), validation_split=0.3), dataset(subset(ten)))
    assert not set(names_of(found.training)) & set(names_of(found.validation))


@no_links
def test_a_linked_picture_is_held_out_too(ten: Path, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    for path in ten.iterdir():
        (tmp_path / "b" / path.name).symlink_to(path)
    found = split(dataset(subset(ten), validation_split=0.3), dataset(subset(tmp_path / "b")))
    assert not set(names_of(found.training)) & set(names_of(found.validation))


def test_only_pictures_of_a_split_are_validated(ten: Path, subset: Subset, dataset: Dataset) -> None:
    plain, regular = dataset(subset(ten)), dataset(subset(ten, is_reg=True))
    found = split(plain, dataset(subset(ten), validation_split=0.3), regular)
    assert [found.validation.source(row).dataset for row in range(len(found.validation))] == [1, 1, 1]
    lost = [warning for warning in found.training.warnings if "not trained on" in warning]
    assert len(lost) == 2
    assert f"3 pictures of {ten} are not trained on: held out for validation elsewhere" in lost[0]


def test_a_picture_that_two_data_sets_hold_out_is_validated_once(ten: Path, subset: Subset, dataset: Dataset) -> None:
    small = dataset(subset(ten), validation_split=0.4, validation_seed=1)
    large = dataset(subset(ten), resolution=(128, 128), validation_split=0.6, validation_seed=2)
    names = names_of(split(small, large).validation)
    assert len(names) == len(set(names))
    assert set(names) >= set(names_of(split(small).validation)) | set(names_of(split(large).validation))


def test_a_subset_may_be_for_validation_alone(ten: Path, subset: Subset, dataset: Dataset, paint: Paint) -> None:
    for number in range(4):
        paint(f"b/{number}.jpg")
    found = split(dataset(subset(ten), subset(ten.parent / "b", validation_split=1.0)))
    assert [path.rpartition(".")[2] for path in names_of(found.validation)] == ["jpg"] * 4
    assert {path.rpartition(".")[2] for path in names_of(found.training)} == {"png"}


def test_a_subsets_own_share_wins_over_that_of_its_data_set(ten: Path, subset: Subset, dataset: Dataset) -> None:
    plain = dataset(subset(ten, validation_split=0.2), validation_split=0.5, validation_seed=3)
    assert names_of(split(plain).validation) == names_of(
        split(dataset(subset(ten), validation_split=0.2, validation_seed=3)).validation
    )
    assert not len(split(dataset(subset(ten, validation_split=0.0), validation_split=0.5)).validation)


def test_a_split_that_comes_to_nothing_is_said(ten: Path, subset: Subset, dataset: Dataset) -> None:
    found = split(dataset(subset(ten), validation_split=0.04))
    said = "data.toml:5: validation_split holds out nothing: 0.04 of 10 pictures comes to none in every subset"
    assert said in found.training.warnings
    assert not any("validation_split" in one for one in split(dataset(subset(ten))).training.warnings)
