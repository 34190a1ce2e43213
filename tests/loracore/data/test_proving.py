from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loracore.data.index import Index
from loracore.data.proving import prove, same_files
from loracore.data.reading import Reading
from loracore.data.scanning import survey_of
from loracore.data.tables.picture_table import Decoded

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from tests.loracore.data.conftest import Dataset, Paint, Subset

LONG_AGO = 1_000_000_000  # s since 1970: what is known of files written just now is not trusted


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def surveyed(datasets: Sequence[DatasetSpec], keep: Path | None = None) -> tuple[Index, Index]:
    found = survey_of(datasets, Reading(keep)).scanned
    return found.training, found.validation


def broken_names(datasets: Sequence[DatasetSpec]) -> list[str]:
    index, held = surveyed(datasets)
    proof = prove([index, held], None, show=False)
    return [one.path(row).name for one in (index, held) for row in proof.broken_rows(one)]


def test_broken_pictures_are_found_in_both_halves(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for name in "abcdef":
        cut(paint(f"{name}.png"))
    assert sorted(broken_names([dataset(subset(), validation_split=0.5)])) == [f"{name}.png" for name in "abcdef"]


def test_a_broken_mask_is_told_by_its_picture(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    masked = subset(tmp_path / "pics", conditioning_data_dir=tmp_path / "masks")
    for name in ("pics/a.png", "pics/b.png", "pics/c.png", "masks/b.png", "masks/c.png"):
        paint(name)  # a has no mask, which is the scan's business
    cut(tmp_path / "masks" / "c.png")
    index, held = surveyed([dataset(masked)])
    reasons = prove([index, held], None, show=False).broken_rows(index)
    assert [(index.path(row).name, reason[:26]) for row, reason in reasons.items()] == [
        ("c.png", "its mask cannot be decoded")
    ]


def known(datasets: Sequence[DatasetSpec], keep: Path) -> list[list[int]]:
    index, _ = surveyed(datasets, keep)
    return [source.table.decoded.tolist() for source in index.sources]


def test_what_is_known_of_both_halves_is_kept(paint: Paint, subset: Subset, dataset: Dataset, keep: Path) -> None:
    for name in "abcd":
        os.utime(paint(f"{name}.png"), (LONG_AGO, LONG_AGO))
    halved = [dataset(subset(), validation_split=0.5)]
    prove(surveyed(halved, keep), keep, show=False)
    assert known(halved, keep) == [[Decoded.WHOLE] * 4]


def test_what_is_known_of_a_folder_in_two_data_sets_is_kept(
    paint: Paint, subset: Subset, dataset: Dataset, keep: Path
) -> None:
    for name, size in (("a", (64, 64)), ("b", (20, 2000))):  # b fits the second data set alone
        os.utime(paint(f"{name}.png", size), (LONG_AGO, LONG_AGO))
    bounds = {"enable_bucket": True, "min_bucket_reso": 64, "max_bucket_reso": 128}
    twice = [dataset(subset(), bucket_no_upscale=True, **bounds), dataset(subset(), **bounds)]
    prove(surveyed(twice, keep), keep, show=False)
    assert known(twice, keep) == [[Decoded.WHOLE] * 2] * 2


def test_what_is_whole_is_not_opened_again(paint: Paint, subset: Subset, dataset: Dataset, keep: Path) -> None:
    path = paint("a.png")
    os.utime(path, (LONG_AGO, LONG_AGO))
    prove(surveyed([dataset(subset())], keep), keep, show=False)
    path.write_bytes(bytes(path.stat().st_size))  # behind the back: same length, same time
    os.utime(path, (LONG_AGO, LONG_AGO))
    index, held = surveyed([dataset(subset())], keep)
    assert prove([index, held], keep, show=False).broken_rows(index) == {}


def test_the_bar_counts_every_file_once(
    paint: Paint, subset: Subset, dataset: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        paint(f"{name}.png")
    prove(surveyed([dataset(subset(), validation_split=0.4), dataset(subset())]), None, show=True)
    assert "100%" in (said := capfd.readouterr().err)
    assert "3/3" in said


def test_files_with_the_same_bytes_are_found_across_folders(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name, colour in (("one/a.png", 1), ("one/b.png", 2), ("two/c.png", 1), ("two/d.png", 3)):
        paint(name, colour=(colour, 0, 0))
    one, two = subset(tmp_path / "one"), subset(tmp_path / "two")
    index, held = surveyed([dataset(one, two), dataset(one)])
    groups = same_files(prove([index, held], None, show=False), index.sources, None)
    assert [[source.path(row).name for source, row in group] for group in groups] == [["a.png", "c.png"]]


def test_digests_are_kept_beside_what_was_decoded(paint: Paint, subset: Subset, dataset: Dataset, keep: Path) -> None:
    for name in "ab":
        os.utime(paint(f"{name}.png"), (LONG_AGO, LONG_AGO))
    index, held = surveyed([dataset(subset())], keep)
    same_files(prove([index, held], keep, show=False), index.sources, keep)
    (table,) = (source.table for source in surveyed([dataset(subset())], keep)[0].sources)
    assert table.has_digest.all()
    assert np.array_equal(table.decoded, [Decoded.WHOLE] * 2)
