from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.data.index import scan
from loracore.errors import DataError
from loracore.types import Framing

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Paint, Subset


def test_a_picture_is_indexed_with_all_it_needs(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    path = paint("a.png", (100, 64))
    path.with_suffix(".txt").write_text("a dog\n", "utf-8")
    (found,) = scan([dataset(subset(num_repeats=3, caption_prefix="photo of"))]).pictures
    assert (found.path, found.caption, found.raw_caption, found.repeats) == (path, "photo of a dog", "a dog", 3)
    assert found.framing == Framing((100, 64), (100, 64), (18, 0), (64, 64))


def test_pictures_come_by_data_set_subset_and_name(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("two/b.png", "two/a.png", "one/c.png"):
        paint(name)
    one, two = subset(tmp_path / "one"), subset(tmp_path / "two")
    found = scan([dataset(two, one), dataset(one)]).pictures
    assert [(picture.dataset, picture.subset, picture.path.name) for picture in found] == [
        (0, 0, "a.png"),
        (0, 0, "b.png"),
        (0, 1, "c.png"),
        (1, 0, "c.png"),
    ]


def test_paths_stay_as_they_were_written(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("pics/a.png")
    monkeypatch.chdir(tmp_path)
    assert scan([dataset(subset(Path("pics")))]).pictures[0].path == Path("pics/a.png")


def test_two_pictures_may_share_a_caption(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    paint("a.jpg").with_suffix(".txt").write_text("a dog", "utf-8")
    assert [picture.caption for picture in scan([dataset(subset())]).pictures] == ["a dog", "a dog"]


def test_class_tokens_stand_in_for_captions(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    index = scan([dataset(subset(class_tokens="sks dog"))])
    assert index.pictures[0].caption == "sks dog"
    assert "1 of 1 pictures have no caption file (.txt) and take class_tokens 'sks dog': a.png" in index.warnings[0]


def test_missing_captions_are_one_warning(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(7):
        paint(f"{number}.png")
    (warning,) = scan([dataset(subset())]).warnings
    assert warning.endswith(
        "7 of 7 pictures have no caption file (.txt) and take an empty caption: "
        "0.png, 1.png, 2.png, 3.png, 4.png and 2 more"
    )


def test_txt_files_under_another_caption_extension_are_pointed_out(
    paint: Paint, subset: Subset, dataset: Dataset
) -> None:
    paint("a.png").with_suffix(".txt").write_text("a dog", "utf-8")
    (warning,) = scan([dataset(subset(caption_extension=".caption"))]).warnings
    assert warning.endswith('; 1 have a .txt file: set caption_extension = ".txt" to use it')


def test_an_empty_caption_file_is_a_warning(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png").with_suffix(".txt").write_bytes(b"")
    index = scan([dataset(subset(class_tokens="sks dog"))])
    assert index.pictures[0].caption == ""
    assert index.warnings[0].endswith("the caption is empty for a.png")


def test_pictures_of_other_formats_are_a_warning(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png").with_suffix(".txt").write_text("a dog", "utf-8")
    paint("b.gif")
    assert scan([dataset(subset())]).warnings[0].endswith("1 pictures of other formats are not read: .gif")


def test_warnings_of_the_data_set_come_first(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    assert scan([dataset(subset(), warnings=("adjusted",))]).warnings[0] == "adjusted"


def test_every_trouble_is_told_at_once(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    for name in ("bad/x.png", "bad/y.jpg"):
        (tmp_path / name).write_bytes(b"")
    paint("bad/z.png").with_suffix(".txt").write_bytes(b"\xff")
    subsets = [subset(tmp_path / name) for name in ("missing", "empty", "bad")]
    with pytest.raises(DataError) as caught:
        scan([dataset(*subsets)])
    places = [problem.where for problem in caught.value.problems]
    bad = [str(tmp_path / "bad" / name) for name in ("x.png", "y.jpg", "z.txt")]
    assert places == ["data.toml:5", "data.toml:5", *bad]


def test_a_missing_folder_is_named(subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.toml:5: the folder '.*nowhere' does not exist"):
        scan([dataset(subset(tmp_path / "nowhere"))])


def test_a_file_is_no_folder(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"the folder '.*a\.png' cannot be read"):
        scan([dataset(subset(paint("a.png")))])


def test_a_folder_without_pictures_tells_what_is_not_read(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.gif")
    with pytest.raises(DataError, match=r"holds no pictures \(.*\.gif is not read"):
        scan([dataset(subset())])


def test_no_subset_at_all_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="the data set holds no pictures"):
        scan([dataset()])


def test_a_picture_thinner_than_a_step_is_named(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("thin.png", (31, 500))
    spec = dataset(subset(), resolution=(512, 512), enable_bucket=True, bucket_no_upscale=True)
    with pytest.raises(DataError, match=r"thin\.png: the picture \(31x500\) is thinner than one bucket step \(64\)"):
        scan([spec])
