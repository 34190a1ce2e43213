from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from loracore.config.dataset_spec import Augmentations
from loracore.data.index import Index
from loracore.data.pictures.picture import Picture
from loracore.data.reading import Reading
from loracore.data.scanning import scan, survey_of
from loracore.errors import DataError
from loracore.types import Framing

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from tests.loracore.data.conftest import Dataset, Paint, Subset


def scanned(*datasets: DatasetSpec, skip_bad: bool = False, seed: int = 0) -> Index:
    return scan(datasets, Reading(skip_bad=skip_bad, seed=seed)).training


def pictures_of(index: Index) -> list[Picture]:
    return [index.picture(row) for row in range(len(index))]


def names_of(index: Index) -> list[str]:
    return [index.path(row).name for row in range(len(index))]


def test_a_picture_is_indexed_with_all_it_needs(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    path = paint("a.png", (100, 64))
    path.with_suffix(".txt").write_text("a dog\n", "utf-8")
    index = scanned(dataset(subset(num_repeats=3)))
    (found,) = pictures_of(index)
    assert (found.path, found.caption, found.dataset, index.samples) == (path, "a dog", 0, 3)
    assert found.framing == Framing((100, 64), (100, 64), (18, 0), (64, 64))


def test_pictures_come_by_data_set_subset_and_name(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("two/b.png", "two/a.png", "one/c.png"):
        paint(name)
    one, two = subset(tmp_path / "one"), subset(tmp_path / "two")
    index = scanned(dataset(two, one), dataset(one))
    assert names_of(index) == ["a.png", "b.png", "c.png", "c.png"]
    assert [picture.dataset for picture in pictures_of(index)] == [0, 0, 0, 1]
    assert [picture.subset for picture in pictures_of(index)] == [two, two, one, one]


def test_paths_stay_as_they_were_written(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("pics/a.png")
    monkeypatch.chdir(tmp_path)
    assert scanned(dataset(subset(Path("pics")))).path(0) == Path("pics/a.png")


def test_two_pictures_may_share_a_caption(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    paint("a.jpg").with_suffix(".txt").write_text("a dog", "utf-8")
    assert [picture.caption for picture in pictures_of(scanned(dataset(subset())))] == ["a dog", "a dog"]


def test_class_tokens_stand_in_for_captions(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    index = scanned(dataset(subset(class_tokens="sks dog")))
    assert index.caption(0) == "sks dog"
    assert "1 of 1 pictures have no caption file (.txt) and take class_tokens 'sks dog': a.png" in index.warnings[0]


def test_missing_captions_are_one_warning(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(7):
        paint(f"{number}.png")
    (warning,) = scanned(dataset(subset())).warnings
    assert warning.endswith(
        "7 of 7 pictures have no caption file (.txt) and take an empty caption: "
        "0.png, 1.png, 2.png, 3.png, 4.png and 2 more"
    )


def test_txt_files_under_another_caption_extension_are_pointed_out(
    paint: Paint, subset: Subset, dataset: Dataset
) -> None:
    paint("a.png").with_suffix(".txt").write_text("a dog", "utf-8")
    (warning,) = scanned(dataset(subset(caption_extension=".caption"))).warnings
    assert warning.endswith('; 1 have a .txt file: set caption_extension = ".txt" to use it')


@pytest.mark.parametrize("text", ["", "  ", "\n\nlate"])
def test_a_caption_that_says_nothing_is_a_warning(paint: Paint, subset: Subset, dataset: Dataset, text: str) -> None:
    paint("a.png").with_suffix(".txt").write_text(text, "utf-8")
    index = scanned(dataset(subset(class_tokens="sks dog")))
    assert index.caption(0) == ""
    assert index.warnings[0].endswith("the caption is empty for a.png")


def test_animated_pictures_are_said(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "a.txt").write_text("a", "utf-8")
    paint("b.png").with_suffix(".txt").write_text("b", "utf-8")
    (warning,) = scanned(dataset(subset())).warnings
    assert warning.endswith("1 picture is animated, only the first frame is trained: a.gif")


def test_two_captions_for_one_picture_are_said(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    picture = paint("a.png")
    picture.with_suffix(".txt").write_text("tags, of, a", "utf-8")
    picture.with_suffix(".caption").write_text("a sentence on a", "utf-8")
    (warning,) = scanned(dataset(subset())).warnings
    assert "two captions, .txt and .caption, that differ; .txt is used: a.png" in warning


def test_warnings_of_the_data_set_come_first(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    assert scanned(dataset(subset(), warnings=("adjusted",))).warnings[0] == "adjusted"


def test_every_trouble_is_told_at_once(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    for name in ("bad/x.png", "bad/y.jpg"):
        (tmp_path / name).write_bytes(b"")
    paint("bad/z.png").with_suffix(".txt").write_bytes(b"\xff")
    subsets = [subset(tmp_path / name) for name in ("missing", "empty", "bad")]
    with pytest.raises(DataError) as caught:
        scanned(dataset(*subsets))
    places = [problem.where for problem in caught.value.problems]
    bad = [str(tmp_path / "bad" / name) for name in ("z.txt", "x.png", "y.jpg")]
    assert places == ["data.toml:5", "data.toml:5", *bad]


def test_bad_pictures_may_be_left_out(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("good.png").with_suffix(".txt").write_text("good", "utf-8")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    index = scanned(dataset(subset()), skip_bad=True)
    assert names_of(index) == ["good.png"]
    assert [warning for warning in index.warnings if warning.startswith("left out:") and "bad.png" in warning]


def test_a_missing_folder_is_named(subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.toml:5: the folder '.*nowhere' does not exist"):
        scanned(dataset(subset(tmp_path / "nowhere")))


def test_a_file_is_no_folder(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"the folder '.*a\.png' cannot be read"):
        scanned(dataset(subset(paint("a.png"))))


def test_a_folder_without_pictures_tells_what_cannot_be_read(subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no pictures \(.*\.heic cannot be read here"):
        scanned(dataset(subset()))


def test_no_subset_at_all_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="no picture is left to train on"):
        scanned(dataset())


def test_a_picture_thinner_than_a_step_is_named(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("thin.png", (31, 500))
    spec = dataset(subset(), resolution=(512, 512), enable_bucket=True, bucket_no_upscale=True)
    with pytest.raises(DataError, match=r"thin\.png: the picture \(31x500\) is thinner than one bucket step \(64\)"):
        scanned(spec)


def test_lists_bring_their_own_captions(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "unlisted.png"):
        paint(name)
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"b.png": {"tags": "x,y"}, "a.png": {"caption": "a dog", "tags": "z"}}), "utf-8")
    index = scanned(dataset(subset(metadata_file=listed)))
    assert [(index.path(row).name, index.caption(row)) for row in range(2)] == [("a.png", "a dog,z"), ("b.png", "x,y")]
    assert index.path(0) == tmp_path / "a.png"


def test_a_listed_picture_that_is_not_there_is_named(subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"gone.png": {"caption": "a"}}), "utf-8")
    with pytest.raises(DataError, match=r"gone\.png"):
        scanned(dataset(subset(metadata_file=listed)))


def test_masks_are_found_by_name(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("pics/a.png")
    paint("masks/a.jpg")
    index = scanned(dataset(subset(tmp_path / "pics", conditioning_data_dir=tmp_path / "masks")))
    assert index.picture(0).mask == tmp_path / "masks" / "a.jpg"


def test_masks_that_do_not_fit_are_all_told(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("pics/a.png")
    paint("pics/b.png", (64, 80))
    paint("masks/b.png", (64, 64))
    paint("masks/c.png")
    with pytest.raises(DataError) as caught:
        scanned(dataset(subset(tmp_path / "pics", conditioning_data_dir=tmp_path / "masks")))
    assert [problem.message for problem in caught.value.problems] == [
        f"there is no mask for it in {tmp_path / 'masks'}",
        "the mask is 64x64, its picture 64x80",
    ]


def test_a_missing_folder_of_masks_is_named(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    paint("a.png")
    with pytest.raises(DataError, match=r"the folder '.*nomasks' does not exist"):
        scanned(dataset(subset(conditioning_data_dir=tmp_path / "nomasks")))


def test_names_that_tell_a_face_wrongly_are_told(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a_1_2_0_0.png")
    faces = Augmentations(face_crop_aug_range=(2.0, 4.0))
    with pytest.raises(DataError, match=r"a_1_2_0_0\.png"):
        scanned(dataset(subset(augmentations=faces)))
    assert len(scanned(dataset(subset()))) == 1


def test_names_that_tell_half_a_face_are_counted(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("trip_2023_05_06_morning.png")
    paint("a_30_30_9_9.png")
    faces = Augmentations(face_crop_aug_range=(2.0, 4.0))
    (said,) = [one for one in scanned(dataset(subset(augmentations=faces))).warnings if "face" in one]
    assert "1 picture without a face" in said
    assert said.endswith("trip_2023_05_06_morning.png")


def test_regularisation_pictures_are_repeated_up_to_the_training_samples(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("train/a.png", "train/b.png", "reg/x.png", "reg/y.png", "reg/z.png"):
        paint(name)
    own, regular = subset(tmp_path / "train", num_repeats=5), subset(tmp_path / "reg", is_reg=True)
    index = scanned(dataset(own, regular))
    assert index.repeats.tolist() == [5, 5, 4, 3, 3]


def test_regularisation_pictures_beyond_the_training_samples_are_left_out_and_said(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("train/a.png", "reg/x.png", "reg/y.png"):
        paint(name)
    index = scanned(dataset(subset(tmp_path / "train"), subset(tmp_path / "reg", is_reg=True)))
    assert names_of(index) == ["a.png", "x.png"]
    assert any("1 regularisation picture of" in warning and "is not used" in warning for warning in index.warnings)


def test_held_out_pictures_are_in_one_half_alone(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(10):
        paint(f"{number}.png")
    spec = dataset(subset(num_repeats=3), validation_split=0.3, validation_seed=42)
    found = scan([spec], Reading())
    train, held = set(names_of(found.training)), set(names_of(found.validation))
    assert (len(train), len(held), train & held) == (7, 3, set())
    assert held == {"4.png", "0.png", "1.png"}  # as the golden split of ten with this seed has it
    assert found.validation.repeats.tolist() == [1, 1, 1]


def test_the_runs_seed_splits_where_no_other_is_given(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(10):
        paint(f"{number}.png")
    specs = [dataset(subset(), validation_split=0.3, validation_seed=seed) for seed in (None, 5)]
    assert names_of(scanned(specs[0], seed=5)) == names_of(scanned(specs[1], seed=9))
    assert names_of(scanned(specs[0], seed=5)) != names_of(scanned(specs[0], seed=6))


def test_a_picture_held_out_in_one_data_set_is_so_in_all(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(10):
        paint(f"{number}.png")
    small = dataset(subset(), validation_split=0.2, validation_seed=1)
    large = dataset(subset(), resolution=(128, 128), validation_split=0.4, validation_seed=2)
    plain = dataset(subset(), resolution=(192, 192))
    found = scan([small, large, plain], Reading())
    assert not set(names_of(found.training)) & set(names_of(found.validation))


def test_regularisation_pictures_are_never_held_out(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name in ("train/a.png", "train/b.png", "reg/x.png", "reg/y.png"):
        paint(name)
    spec = dataset(subset(tmp_path / "train"), subset(tmp_path / "reg", is_reg=True), validation_split=0.5)
    found = scan([spec], Reading())
    assert set(names_of(found.validation)) <= {"a.png", "b.png"}


def test_holding_out_everything_is_an_error(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    with pytest.raises(DataError, match="lower validation_split"):
        scanned(dataset(subset(), validation_split=1.0))


def test_a_survey_keeps_what_is_good_beside_what_is_wrong(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    paint("good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    survey = survey_of([dataset(subset(), subset(tmp_path / "nowhere"))], Reading())
    assert names_of(survey.scanned.training) == ["good.png"]
    assert (len(survey.problems), len(survey.bad)) == (1, 1)


def test_an_index_costs_a_few_bytes_a_picture(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(20):
        paint(f"{number}.png")
    index = scanned(dataset(subset()))
    bytes_ = index.source_rows.nbytes + index.table_rows.nbytes + index.framing_rows.nbytes
    assert bytes_ + index.buckets.nbytes + index.repeats.nbytes == 16 * len(index)
    assert len(index.framings) == 1  # all are of one size


def test_taking_rows_keeps_their_order(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(4):
        paint(f"{number}.png")
    assert names_of(scanned(dataset(subset())).take(np.array([3, 1]))) == ["3.png", "1.png"]


def problems_of(*datasets: DatasetSpec) -> list[str]:
    with pytest.raises(DataError) as caught:
        scanned(*datasets)
    return [f"{Path(problem.where).name}: {problem.message}" for problem in caught.value.problems]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_bad_headers_and_torn_pixels_are_named_together(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    cut(paint("a.png"))
    (tmp_path / "b.png").write_bytes(b"")
    paint("c.png")
    with pytest.raises(DataError) as caught:
        scanned(dataset(subset()))
    assert {Path(problem.where).name for problem in caught.value.problems} == {"a.png", "b.png"}
    assert {problem.fix for problem in caught.value.problems} == {'repair or remove it, or set on_bad_image = "skip"'}


def test_a_mistake_of_a_list_does_not_hide_the_others(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    cut(paint("torn.png"))
    cut(paint("torn-too.png"))
    captions = {"torn.png": "x", "torn-too.png": 5, "gone.png": "x", "../out.png": "x"}
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({key: {"caption": text} for key, text in captions.items()}), "utf-8")
    said = problems_of(dataset(subset(metadata_file=listed, conditioning_data_dir=tmp_path / "nomasks")))
    starts = ("list.json: caption of", "list.json: '../out.png' leaves", "data.toml:5: the folder", "gone.png: ")
    torn = ("torn.png: cannot be decoded", "torn-too.png: cannot be decoded")
    assert [start for start in (*starts, *torn) if not any(one.startswith(start) for one in said)] == []
    assert len(said) == 6


def test_a_list_of_which_nothing_is_sound_is_not_called_empty(subset: Subset, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('{"../a.png": {}}', "utf-8")
    assert len(problems_of(dataset(subset(metadata_file=tmp_path / "list.json")))) == 1


@pytest.mark.parametrize("kind", ["pics", "nopics"])
def test_a_missing_folder_of_masks_hides_nothing(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    cut(paint("pics/a.png"))
    said = problems_of(dataset(subset(tmp_path / kind, conditioning_data_dir=tmp_path / "nomasks")))
    assert any("nomasks' does not exist" in one for one in said)
    assert any(("a.png: cannot be decoded" if kind == "pics" else "nopics' does not exist") in one for one in said)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes among files")
def test_what_is_listed_and_no_file_is_a_bad_picture(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    paint("a.png")
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({name: {"caption": "x"} for name in ("a.png", "pipe.png", "folder.png")}), "utf-8")
    said = problems_of(dataset(subset(metadata_file=listed)))
    assert said == [f"{name}: cannot be read: it is no file" for name in ("folder.png", "pipe.png")]
    assert names_of(scanned(dataset(subset(metadata_file=listed)), skip_bad=True)) == ["a.png"]


def test_texts_whose_extension_is_written_in_capitals_are_pointed_out(
    paint: Paint, subset: Subset, dataset: Dataset
) -> None:
    paint("a.png").with_suffix(".TXT").write_text("a dog", "utf-8")
    (warning,) = scanned(dataset(subset())).warnings
    assert warning.endswith("a.png; 1 file in the folder end in .TXT: rename them to .txt")


@pytest.mark.parametrize(("mode", "said"), [("RGB", True), ("RGBA", False), ("LA", False)])
def test_alpha_mask_without_any_transparency_is_said(
    paint: Paint, subset: Subset, dataset: Dataset, mode: str, said: bool
) -> None:
    paint("a.jpg")
    paint("b.png", mode=mode, colour=0)
    warnings = scanned(dataset(subset(alpha_mask=True))).warnings
    assert any("alpha_mask has no effect" in warning for warning in warnings) is said
    assert not any("alpha_mask has" in warning for warning in scanned(dataset(subset())).warnings)


def test_more_samples_than_can_be_counted_are_an_error(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    paint("a.png")
    with pytest.raises(DataError, match="lower num_repeats"):
        scanned(dataset(subset(num_repeats=2**31 + 1)))
