from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.data.index import Index
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.errors import DataError

if TYPE_CHECKING:
    from loracore.config.dataset_spec import SubsetSpec
    from tests.loracore.data.conftest import Dataset, Paint, Subset


@pytest.fixture
def masked(subset: Subset, tmp_path: Path) -> SubsetSpec:
    (tmp_path / "masks").mkdir()
    return subset(tmp_path / "pics", conditioning_data_dir=tmp_path / "masks")


def listed(subset: Subset, folder: Path, *keys: str) -> SubsetSpec:
    """Return the subset of a list; pictures are below ``pics``, masks below ``masks``."""
    (folder / "list.json").write_text(json.dumps({key: {"caption": "a"} for key in keys}), "utf-8")
    where = {"metadata_file": folder / "list.json", "conditioning_data_dir": folder / "masks"}
    return subset(folder / "pics", **where)


def masks_of(index: Index) -> list[Path | None]:
    return [index.picture(row).mask for row in range(len(index))]


def test_two_masks_for_one_picture_are_told(paint: Paint, masked: SubsetSpec, dataset: Dataset) -> None:
    for name in ("pics/a.png", "pics/b.png", "masks/a.png", "masks/a.webp", "masks/b.png"):
        paint(name)
    with pytest.raises(DataError, match=r"there are 2 masks for it in .*masks: a\.png, a\.webp \(keep one") as caught:
        scan([dataset(masked)], Reading())
    assert len(caught.value.problems) == 1


def test_two_pictures_may_share_a_mask_which_is_said(paint: Paint, masked: SubsetSpec, dataset: Dataset) -> None:
    for name in ("pics/a.png", "pics/a.jpg", "masks/a.png"):
        paint(name)
    warnings = scan([dataset(masked)], Reading()).training.warnings
    assert any(one.endswith("1 mask serves several pictures: a.jpg and a.png") for one in warnings)


def test_a_list_s_masks_lie_as_its_pictures_do(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    for folder in ("pics", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("x/1.png", "y/1.png", "1.png"):
            paint(f"{folder}/{name}")
    spec = listed(subset, tmp_path, "x/1.png", "y/1.png", "1.png")
    found = scan([dataset(spec)], Reading()).training
    assert [found.path(row).relative_to(tmp_path / "pics") for row in range(3)] == [
        mask.relative_to(tmp_path / "masks") for mask in masks_of(found) if mask is not None
    ]


def test_a_list_s_mask_of_another_sub_folder_is_none(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "pics").mkdir()
    paint("pics/x/1.png")
    paint("masks/1.png")
    with pytest.raises(DataError, match="there is no mask for it"):
        scan([dataset(listed(subset, tmp_path, "x/1.png"))], Reading())


def test_pictures_elsewhere_have_masks_of_their_names(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    outside = paint("other/1.png")
    paint("masks/1.png")
    found = scan([dataset(listed(subset, tmp_path, str(outside)))], Reading()).training
    assert masks_of(found) == [tmp_path / "masks" / "1.png"]


def test_paths_from_the_working_directory_are_found_too(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x/1.png", "masks/1.png"):
        paint(name)
    (tmp_path / "masks" / "x").mkdir()
    paint("masks/x/1.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text('{"x/1.png": {}}', "utf-8")
    spec = subset(Path(), metadata_file=Path("list.json"), conditioning_data_dir=Path("masks"))
    assert masks_of(scan([dataset(spec)], Reading()).training) == [Path("masks/x/1.png")]


def test_masks_of_lists_and_folders_are_kept_apart(
    paint: Paint, masked: SubsetSpec, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("pics/1.png", "masks/1.png"):
        paint(name)
    sets = [dataset(masked), dataset(listed(subset, tmp_path, "1.png"))]
    for _ in range(2):
        found = scan(sets, Reading(tmp_path / "kept")).training
        assert masks_of(found) == [tmp_path / "masks" / "1.png"] * 2


def test_a_mask_whose_header_is_broken_is_no_mask_of_another_size(
    paint: Paint, masked: SubsetSpec, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("pics/a.png", "pics/b.png", "masks/b.png"):
        paint(name)
    (tmp_path / "masks" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        scan([dataset(masked)], Reading())
    (problem,) = caught.value.problems
    assert (problem.where, problem.message[:8]) == (str(tmp_path / "pics" / "a.png"), "its mask")
    skipped = scan([dataset(masked)], Reading(skip_bad=True)).training
    assert masks_of(skipped) == [tmp_path / "masks" / "b.png"]
