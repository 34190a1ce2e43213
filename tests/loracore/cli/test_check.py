from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.loracore.cli.troubles import STRANGE, WARNED, WRONG, unsaid, write_troubles

if TYPE_CHECKING:
    from tests.loracore.cli.conftest import Answer, Call

Checked = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which data-set files start at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def checked(loracore: Call) -> Checked:
    """Give a function that checks, and returns what stdout says: JSON alone."""

    def call(*words: str, code: int = 0) -> dict[str, Any]:
        answer = loracore("check", *words, "--json")
        assert answer.code == code, answer
        found: dict[str, Any] = json.loads(answer.out)
        return found

    return call


@pytest.fixture
def troubles(folder: Path) -> Path:
    write_troubles(folder)
    return folder


def messages(found: dict[str, Any]) -> list[str]:
    return [problem["message"] for problem in found["problems"]]


def image_names(found: dict[str, Any], dataset: int = 0) -> list[str]:
    return [Path(image["path"]).name for image in found["datasets"][dataset]["images"]]


@pytest.mark.usefixtures("troubles")
def test_every_trouble_is_reported_in_one_run(checked: Checked) -> None:
    found = checked("--dataset_config", "data.toml", code=1)
    said = [(problem["where"].replace("\\", "/"), problem["message"]) for problem in found["problems"]]
    assert [one for one in WRONG if not any(one[0] == where and one[1] in why for where, why in said)] == []
    assert len(said) == len(WRONG)
    assert unsaid(WARNED, found["warnings"]) == []
    assert len(found["warnings"]) == len(WARNED)


@pytest.mark.usefixtures("troubles")
def test_what_is_strange_and_whole_is_no_trouble(checked: Checked) -> None:
    found = checked("--dataset_config", "data.toml", code=1)
    images = {Path(image["path"]).name: image for image in found["datasets"][0]["images"]}
    assert {name: images[name]["size"] for name in STRANGE} == STRANGE
    assert images["mark.png"]["caption"] == "red"
    assert not {"cut.png", "cut-too.jpg", "zero.png", "text.jpg"} & set(images)


@pytest.mark.usefixtures("troubles")
def test_the_text_says_what_the_json_says(loracore: Call) -> None:
    answer = loracore("check", "--dataset_config", "data.toml")
    assert answer.code == 1
    lines = answer.out.replace("\\", "/").splitlines()
    assert unsaid([part for pair in WRONG for part in pair], lines) == []
    assert unsaid(WARNED, lines) == []
    assert lines[-1] == f"{len(WRONG)} mistakes and {len(WARNED)} warnings"


@pytest.mark.usefixtures("troubles")
def test_a_second_run_says_the_same(loracore: Call) -> None:
    words = ("check", "--dataset_config", "data.toml", "--json")
    assert loracore(*words).out == loracore(*words).out


def test_bad_pictures_that_are_skipped_are_warnings(troubles: Path, checked: Checked) -> None:
    words = ("--train_data_dir", "pictures", "--resolution", "128", "--on_bad_image", "skip")
    (troubles / "pictures" / "latin.txt").unlink()
    found = checked(*words, "--caption_extension", ".txt")
    assert found["problems"] == []
    left_out = [warning for warning in found["warnings"] if warning.startswith("left out: ")]
    assert unsaid(["cut.png", "cut-too.jpg", "zero.png", "text.jpg"], left_out) == []


@pytest.mark.usefixtures("pictures")
def test_a_folder_is_enough(loracore: Call) -> None:
    answer = loracore("check", "--train_data_dir", "pictures", "--resolution", "64", "--caption_extension", ".txt")
    assert (answer.code, answer.out.splitlines()[0]) == (
        0,
        "data set 1   64x64, no buckets: every picture is cut to this shape, batches of up to 1",
    )
    assert "  pictures: 6 pictures × 1 = 6 per epoch" in answer.out.splitlines()
    assert answer.out.splitlines()[-1] == "everything is in order"


def test_nothing_to_look_at_is_said_with_the_cure(loracore: Call) -> None:
    answer = loracore("check")
    assert answer.code == 1
    assert answer.out.startswith("wrong: no pictures to train on (give --train_data_dir FOLDER")


@pytest.mark.usefixtures("pictures")
def test_the_run_s_own_file_may_hold_the_data_set(folder: Path, checked: Checked) -> None:
    text = (
        'max_train_epochs = 4\n[general]\nresolution = 64\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "pictures"'
    )
    (folder / "run.toml").write_text(text, encoding="utf-8")
    found = checked("run.toml")
    assert (found["steps_per_epoch"], found["epochs"], found["steps"]) == (6, 4, 24)


def run_of(*words: str) -> tuple[str, ...]:
    return ("check", "--train_data_dir", "pictures", "--resolution", "64", "--dataset_repeats", "10", *words)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max_train_epochs", "2"), "the run      2 epochs (max_train_epochs): 30 steps"),
        (("--max_train_steps", "45"), "the run      45 steps (max_train_steps): 3 epochs"),
        (
            ("--max_train_steps", "50"),
            "the run      50 steps (max_train_steps): 3 epochs and 5 of 15 steps of the next",
        ),
        (("--max_train_steps", "1"), "the run      1 step (max_train_steps): 1 of 15 steps of the first epoch"),
    ],
)
def test_the_run_is_told_in_epochs_and_steps(loracore: Call, words: tuple[str, ...], said: str) -> None:
    answer = loracore(*run_of("--train_batch_size", "2", "--gradient_accumulation_steps", "2", *words))
    lines = answer.out.splitlines()
    assert "  pictures: 6 pictures × 10 = 60 per epoch" in lines
    assert "an epoch     60 samples in 30 batches, 2 batches a step: 15 steps on one device" in lines
    assert said in lines


@pytest.mark.usefixtures("pictures")
def test_held_out_pictures_are_told(loracore: Call, checked: Checked) -> None:
    words = ("--train_data_dir", "pictures", "--resolution", "64", "--validation_split", "0.5")
    found = checked(*words)
    held = {Path(path).name for path in found["validation_images"]}
    assert (len(held), len(found["datasets"][0]["images"])) == (3, 3)
    assert not held & set(image_names(found))
    assert "held out     3 pictures for validation, never trained on" in loracore("check", *words).out


@pytest.mark.usefixtures("pictures")
def test_regularisation_is_told_apart(folder: Path, loracore: Call) -> None:
    shutil.copytree(folder / "pictures", folder / "other")
    (folder / "other" / "0.png").unlink()
    answer = loracore(*run_of("--reg_data_dir", "other"))
    assert "  other: 5 regularisation pictures, 60 per epoch" in answer.out.splitlines()


@pytest.mark.usefixtures("pictures")
def test_captions_are_those_of_the_first_visit(checked: Checked) -> None:
    words = ("--train_data_dir", "pictures", "--resolution", "64", "--caption_extension", "txt", "--shuffle_caption")
    found = checked(*words, "--caption_separator", " ", "--seed", "3")
    captions = [image["caption"] for image in found["datasets"][0]["images"]]
    assert [sorted(caption.split(", ")) for caption in captions] == [
        sorted(["picture", "number", str(number)]) for number in range(6)
    ]
    again = checked(*words, "--caption_separator", " ", "--seed", "4")
    assert captions != [image["caption"] for image in again["datasets"][0]["images"]]


@pytest.mark.usefixtures("pictures")
def test_frequent_tags_come_first_and_the_rest_is_counted(folder: Path, loracore: Call) -> None:
    for number in range(6):
        (folder / "pictures" / f"{number}.txt").write_text(f"Fish, {'x' * 50}, {', '.join('abcdefghij'[number:])}")
    (folder / "pictures" / "5.txt").write_text(", ".join(f"tag{number}" for number in range(20)), encoding="utf-8")
    answer = loracore(*run_of("--caption_extension", ".txt"))
    (line,) = (line for line in answer.out.splitlines() if line.startswith("tags"))
    assert line.startswith(f"tags         fish 5, {'x' * 39}… 5, ")
    assert line.endswith(" and 12 more")


@pytest.mark.usefixtures("pictures")
def test_mistakes_in_options_do_not_keep_from_looking_at_pictures(folder: Path, checked: Checked) -> None:
    (folder / "pictures" / "0.png").write_bytes(b"")
    (folder / "run.toml").write_text('[run]\nlearning_rat = 1e-4\nseed = "x"\ntrain_data_dir = "pictures"', "utf-8")
    found = checked("run.toml", "--resolution", "64", code=1)
    assert [problem["where"].replace("\\", "/") for problem in found["problems"]] == [
        "run.toml:2",
        "run.toml:3",
        "pictures/0.png",
    ]
    assert found["problems"][0]["fix"] == "did you mean 'learning_rate'?"
    assert len(found["datasets"][0]["images"]) == 5


@pytest.mark.usefixtures("pictures")
def test_data_sets_of_which_too_little_is_known_are_named(folder: Path, checked: Checked) -> None:
    subset = '[[datasets.subsets]]\nimage_dir = "pictures"\n'
    (folder / "data.toml").write_text(f"[[datasets]]\n{subset}[[datasets]]\nresolution = 64\n{subset}", "utf-8")
    found = checked("--dataset_config", "data.toml", code=1)
    assert messages(found) == ["the data set has no resolution"]
    assert found["warnings"][0] == "data.toml:1: the pictures of this data set were not looked at"
    assert image_names(found) == [f"{number}.png" for number in range(6)]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    "words",
    [
        ("--train_batch_size", "x"),  # an option of the data
        ("--arch", "nowhere"),
        ("--network_module", "lokar"),
        ("--learning_rate",),
    ],
)
def test_whatever_is_wrong_pictures_are_looked_at(checked: Checked, words: tuple[str, ...]) -> None:
    found = checked("--train_data_dir", "pictures", "--resolution", "64", *words, code=1)
    assert len(found["problems"]) == 1
    assert len(image_names(found)) == 6


def test_mistakes_of_options_and_of_the_data_set_are_told_together(folder: Path, checked: Checked) -> None:
    (folder / "data.toml").write_text("[[datasets]]\nresolutio = 64\n", encoding="utf-8")
    found = checked("--dataset_config", "data.toml", "--train_batch_size", "x", "--arch", "nowhere", code=1)
    assert [problem["where"] for problem in found["problems"]].count("data.toml:2") == 1


def test_a_file_that_cannot_be_read_is_a_report_too(checked: Checked) -> None:
    found = checked("missing.toml", code=1)
    assert messages(found) == ["no such file"]
    assert found["warnings"] == ["the pictures were not looked at: mend the options first"]


def test_json_has_the_promised_structure(pictures: Path, checked: Checked) -> None:
    found = checked("--train_data_dir", str(pictures), "--resolution", "64", "--caption_extension", ".txt")
    (dataset,) = found["datasets"]
    assert dataset["buckets"] == [{"size": [64, 64], "images": 6, "pictures": 6, "batches": 6}]
    assert dataset["images"][0] == {
        "path": str(pictures / "0.png"),
        "size": [96, 48],
        "bucket": [64, 64],
        "resized": [128, 64],
        "caption": "picture number 0",
    }
    assert (found["steps_per_epoch"], found["problems"], found["validation_images"]) == (6, [], [])


@pytest.mark.usefixtures("pictures")
def test_with_json_nothing_else_is_said(loracore: Call) -> None:
    answer = loracore(*run_of("--json"))
    assert json.loads(answer.out)["steps_per_epoch"] == 60
    assert answer.err == ""


@pytest.mark.usefixtures("pictures")
def test_options_without_effect_are_noted(loracore: Call) -> None:
    assert "note: --reg_data_dir: reg_data_dir is without effect: --in_json wins" in (
        loracore(*run_of("--in_json", "list.json", "--reg_data_dir", "pictures")).out
    )


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("words", [(), ("--arch", "sdxl")])
def test_torch_is_not_imported(imports: Callable[..., Answer], words: tuple[str, ...]) -> None:
    answer = imports("check", "--train_data_dir", "pictures", "--resolution", "512", *words)
    assert answer.code == 0, answer
    assert answer.out.splitlines()[-1] == ""  # the names of what is heavy, of which there are none


def test_pictures_are_decoded_once(pictures: Path, loracore: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    old = 1_000_000_000  # seconds since 1970: files just written are read again, since their times may be coarse
    for path in pictures.iterdir():
        os.utime(path, (old, old))
    words = ("check", "--train_data_dir", str(pictures), "--resolution", "64", "--validation_split", "0.5")
    assert "pictures: 100%" in loracore(*words).err
    assert loracore(*words).err == ""


def test_a_picture_whose_header_is_whole_is_decoded_too(folder: Path, checked: Checked) -> None:
    (folder / "few").mkdir()
    Image.new("RGB", (64, 64)).save(folder / "few" / "a.png")
    data = (folder / "few" / "a.png").read_bytes()
    (folder / "few" / "a.png").write_bytes(data[: len(data) // 2])
    found = checked("--train_data_dir", "few", "--resolution", "64", code=1)
    assert found["datasets"][0]["images"] == []
    assert "cannot be decoded" in messages(found)[0]


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
def test_names_of_files_command_no_terminal(folder: Path, loracore: Call) -> None:
    for name in ("\x1b[31mred.png", "two\nlines.png"):
        Image.new("RGB", (64, 64)).save(folder / name)
    (folder / "\x1b[32mgreen.png").write_bytes(b"")
    said = loracore("check", "--train_data_dir", str(folder), "--resolution", "64").out
    assert "\x1b" not in said
    assert {"\\x1b[31mred.png", "two\\nlines.png"} <= set(said.replace(",", " ").split())
    assert "\\x1b[32mgreen.png: cannot be" in said
