from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.config.dataset_spec import CaptionRules
from loracore.data.reading import Reading
from loracore.data.report import Report, make_report
from loracore.data.visits import Draws

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from tests.loracore.data.conftest import Dataset, Paint, Subset


def report_of(*datasets: DatasetSpec, skip_bad: bool = False) -> Report:
    return make_report(datasets, Reading(skip_bad=skip_bad), show=False)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def painted(
    paint: Paint, name: str, caption: str = "a fish", colour: int = 0, size: tuple[int, int] = (64, 64)
) -> Path:
    path = paint(name, size, (colour, 0, 0))
    path.with_suffix(".txt").write_text(caption, "utf-8")
    return path


def test_whole_pictures_are_told_as_they_are_trained(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    path = painted(paint, "a.png", "Fish", size=(128, 64))
    report = report_of(dataset(subset(captions=CaptionRules(caption_prefix="photo of"))))
    assert list(report.pictures(Draws(0, 1))) == [
        (
            0,
            {
                "path": str(path),
                "size": (128, 64),
                "bucket": (64, 64),
                "resized": (128, 64),
                "caption": "photo of Fish",
            },
        )
    ]
    assert (report.problems, report.warnings, report.tags) == ((), (), {"fish": 1})


def test_broken_pictures_are_problems_and_not_counted(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    broken = painted(paint, "a.png", "lost")
    cut(broken)
    painted(paint, "b.png")
    report = report_of(dataset(subset(num_repeats=3), batch_size=2))
    (problem,) = report.problems
    assert (problem.where, problem.fix) == (str(broken), 'repair or remove it, or set on_bad_image = "skip"')
    assert (report.index.samples, report.batches, report.tags) == (3, 2, {"a fish": 1})


def test_broken_pictures_that_are_held_out_are_problems_too(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(4):
        cut(painted(paint, f"{number}.png", colour=number))
    report = report_of(dataset(subset(), validation_split=0.5))
    assert len({problem.where for problem in report.problems}) == 4
    assert (len(report.index), len(report.validation)) == (0, 0)


def test_what_is_skipped_is_a_warning(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    cut(painted(paint, "a.png"))
    painted(paint, "b.png")
    report = report_of(dataset(subset()), skip_bad=True)
    assert report.problems == ()
    assert report.warnings[0].startswith("left out: ")


def test_skipping_every_picture_is_a_problem(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    cut(painted(paint, "a.png"))
    assert [one.message for one in report_of(dataset(subset()), skip_bad=True).problems] == [
        "no picture is left to train on"
    ]


def test_a_trouble_of_a_folder_in_two_data_sets_is_told_once(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    cut(painted(paint, "a.png"))
    paint("b.png")
    report = report_of(dataset(subset()), dataset(subset()))
    assert (len(report.problems), len(report.warnings)) == (1, 1)


@pytest.mark.parametrize(("size", "said"), [((32, 32), True), ((33, 33), False), ((64, 30), True)])
def test_pictures_enlarged_twice_or_more_are_tiny(
    paint: Paint, subset: Subset, dataset: Dataset, size: tuple[int, int], said: bool
) -> None:
    painted(paint, "a.png", size=size)
    tiny = [warning for warning in report_of(dataset(subset())).warnings if "is tiny" in warning]
    assert bool(tiny) is said
    assert all(warning.endswith(f"a.png ({size[0]}x{size[1]})") for warning in tiny)


@pytest.mark.parametrize(("width", "lost"), [(128, None), (130, "51%"), (256, "75%")])
def test_pictures_that_lose_more_than_half_are_named(
    paint: Paint, subset: Subset, dataset: Dataset, width: int, lost: str | None
) -> None:
    painted(paint, "a.png", size=(width, 64))
    expected = [f"1 picture loses more than half, up to {lost}, by cutting: a.png ({width}x64)"] if lost else []
    assert list(report_of(dataset(subset())).warnings) == expected


def test_equal_pictures_are_grouped_and_captions_compared(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for name, colour, caption in (("a", 1, "x"), ("b", 1, "x"), ("c", 2, "x"), ("d", 2, "y"), ("e", 3, "x")):
        painted(paint, f"{name}.png", caption, colour)
    report = report_of(dataset(subset()))
    names = [tuple(Path(path).name for path in group) for group in report.duplicates]
    assert sorted(names) == [("a.png", "b.png"), ("c.png", "d.png")]
    differing, same = report.warnings  # those that contradict each other come first
    assert "byte for byte, with different captions: " in differing
    assert "byte for byte: " in same


def test_of_many_equal_pictures_the_first_groups_are_named(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    for number in range(46):
        painted(paint, f"{number:02}.png", colour=number // 2)
    report = report_of(dataset(subset()))
    assert (len(report.duplicates), len(report.warnings)) == (23, 21)
    assert report.warnings[-1] == "3 more groups of pictures that are the same, byte for byte"


def test_a_folder_in_two_data_sets_holds_no_duplicates(paint: Paint, subset: Subset, dataset: Dataset) -> None:
    painted(paint, "a.png")
    report = report_of(dataset(subset()), dataset(subset(), resolution=(128, 128)))
    assert report.duplicates == ()


def test_tags_are_counted_once_a_picture_the_most_frequent_first(
    paint: Paint, subset: Subset, dataset: Dataset
) -> None:
    painted(paint, "a.png", "cat, Dog", 1)
    painted(paint, "b.png", "dog", 2)
    assert list(report_of(dataset(subset(num_repeats=9))).tags.items()) == [("dog", 2), ("cat", 1)]


def test_equal_pictures_on_both_sides_of_a_split_are_warned_of(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    for name, colour in (("in/a.png", 1), ("in/b.png", 2), ("copies/c.png", 1), ("copies/d.png", 2)):
        painted(paint, name, colour=colour)
    split = dataset(subset(tmp_path / "in"), validation_split=0.5)
    warnings = report_of(split, dataset(subset(tmp_path / "copies"))).warnings
    (said,) = [one for one in warnings if "held out and trained on" in one]
    assert said.startswith("1 picture is held out")
    assert not any("trained on" in one for one in report_of(split).warnings)


def test_a_folder_written_in_two_ways_holds_no_duplicates(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    painted(paint, "a/1.png")
    (tmp_path / "b").mkdir()
    report = report_of(dataset(subset(tmp_path / "a")), dataset(subset(tmp_path / "b" / ".." / "a")))
    assert report.duplicates == ()
