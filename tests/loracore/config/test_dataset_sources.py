from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.config import Config
from loracore.config.dataset_sources import idle_sources
from loracore.config.datasets import read_datasets
from loracore.config.options import DataOptions, TrainingOptions
from loracore.config.toml_file import read_toml
from loracore.errors import ConfigError
from tests.loracore.config.data_files import Read, Wrong, config_of, one


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_data_set_may_stand_in_the_runs_own_file() -> None:
    Path("run.toml").write_text("[training]\nseed = 1\n" + one(), "utf-8")
    (dataset,) = read_datasets(config_of(), read_toml(Path("run.toml")))
    assert dataset.subsets[0].place == "run.toml:10"


def test_a_flag_for_a_data_set_file_beats_the_runs_own(read: Read) -> None:
    Path("run.toml").write_text(one(), "utf-8")
    read(one("resolution = 256"))
    found = read_datasets(config_of(dataset_config="data.toml"), read_toml(Path("run.toml")))
    assert found[0].resolution == (256, 256)


def test_one_file_with_both_is_an_error() -> None:
    Path("run.toml").write_text(one(), "utf-8")
    config = Config([DataOptions(dataset_config="data.toml")], {"dataset_config": "run.toml:1"})
    with pytest.raises(ConfigError, match=r"run\.toml:1: .* has \[\[datasets\]\] too"):
        read_datasets(config, read_toml(Path("run.toml")))


def test_a_data_set_file_named_elsewhere_beats_a_data_set_in_a_file(read: Read) -> None:
    Path("beneath.toml").write_text(one(), "utf-8")
    read(one("resolution = 256"))
    config = Config([DataOptions(dataset_config="data.toml"), TrainingOptions()], {"dataset_config": "run.toml:1"})
    assert read_datasets(config, read_toml(Path("beneath.toml")))[0].resolution == (256, 256)


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({"dataset_config": "data.toml"}, ["run.toml:3: [[datasets]] is without effect: --dataset_config wins"]),
        (
            {"train_data_dir": "pics"},
            ["--train_data_dir: train_data_dir is without effect: [[datasets]] in run.toml wins"],
        ),
        ({"in_json": "m.json"}, ["--in_json: in_json is without effect: [[datasets]] in run.toml wins"]),
    ],
)
def test_what_stands_beside_the_runs_own_data_set_is_a_note(options: dict[str, str], notes: list[str]) -> None:
    Path("run.toml").write_text(one(), "utf-8")
    assert list(idle_sources(config_of(**options), read_toml(Path("run.toml")))) == notes


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"dataset_config": "d.toml", "train_data_dir": "a", "reg_data_dir": "b", "in_json": "c"}, 3),
        ({"in_json": "m.json", "train_data_dir": "a", "reg_data_dir": "b"}, 1),
        ({"train_data_dir": "a", "reg_data_dir": "b"}, 0),
        ({}, 0),
    ],
)
def test_places_of_pictures_that_another_one_beats_are_notes(options: dict[str, str], idle: int) -> None:
    notes = idle_sources(config_of(**options), None)
    assert [note.endswith(f"--{next(iter(options))} wins") for note in notes] == [True] * idle


def test_one_data_set_in_the_runs_own_file_is_no_note() -> None:
    Path("run.toml").write_text(one(), "utf-8")
    assert idle_sources(config_of(), read_toml(Path("run.toml"))) == ()


def test_no_data_set_at_all_tells_the_three_ways() -> None:
    with pytest.raises(ConfigError, match=r"--train_data_dir FOLDER, --dataset_config FILE, or \[\[datasets\]\]"):
        read_datasets(config_of(), None)


def test_regularisation_alone_is_nothing_to_train_on() -> None:
    with pytest.raises(ConfigError, match=r"^--reg_data_dir: there are regularisation pictures, but no pictures"):
        read_datasets(config_of(reg_data_dir="reg"), None)


def test_a_plain_folder_is_one_subset() -> None:
    (dataset,) = read_datasets(config_of(train_data_dir="pics", resolution="512", dataset_repeats=4), None)
    (subset,) = dataset.subsets
    assert (subset.image_dir, subset.num_repeats, subset.place) == (Path("pics"), 4, "--train_data_dir")


def test_regularisation_stands_behind_the_training_folders() -> None:
    for name in ("pics/5_dog", "pics/2_cat", "reg/1_animal"):
        Path(name).mkdir(parents=True)
    (dataset,) = read_datasets(config_of(train_data_dir="pics", reg_data_dir="reg", resolution="512"), None)
    found = [(str(subset.source), subset.num_repeats, subset.is_reg, subset.place) for subset in dataset.subsets]
    assert found == [
        ("pics/2_cat", 2, False, "--train_data_dir"),
        ("pics/5_dog", 5, False, "--train_data_dir"),
        ("reg/1_animal", 1, True, "--reg_data_dir"),
    ]


def test_a_plain_folder_of_regularisation_is_one_subset() -> None:
    config = config_of(train_data_dir="pics", reg_data_dir="reg", resolution="512", prior_loss_weight=0.5)
    found = [
        (str(subset.source), subset.is_reg, subset.loss_weight) for subset in read_datasets(config, None)[0].subsets
    ]
    assert found == [("pics", False, 1.0), ("reg", True, 0.5)]


@pytest.mark.parametrize("folder", [None, "pics"])
def test_a_list_of_pictures_is_one_subset(folder: str | None) -> None:
    options = {} if folder is None else {"train_data_dir": folder}
    (subset,) = read_datasets(config_of(in_json="m.json", resolution="512", **options), None)[0].subsets
    assert subset.metadata_file == Path("m.json")
    assert subset.image_dir == (None if folder is None else Path(folder))
    assert subset.place == ("--in_json" if folder is None else "--train_data_dir")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "data.toml: the data-set file has no datasets (add a [[datasets]] table)"),
        (
            "[generl]\n" + one(),
            "data.toml:1: 'generl' does not belong at the top of a data-set file (did you mean 'gen",
        ),
        ("[general", "data.toml:1: TOML syntax error"),
    ],
)
def test_a_misshapen_file_is_an_error(wrong: Wrong, text: str, said: str) -> None:
    assert wrong(text)[0].startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "data.json:1: JSON syntax error in column 2"),
        ("[]", "data.json: a data-set file holds an object"),
        ('{"datasets": [], "datasets": []}', "data.json: the key 'datasets' is given twice"),
        (
            '{"datasets": [{"resolution": 64, "subsets": [{"imagedir": "x"}]}]}',
            "data.json at datasets[0].subsets[0].imagedir",
        ),
    ],
)
def test_a_misshapen_json_file_is_an_error(wrong: Wrong, text: str, said: str) -> None:
    assert wrong(text, "data.json")[0].startswith(said)


def test_a_data_set_file_of_another_kind_is_an_error(wrong: Wrong) -> None:
    assert wrong("", "data.yaml") == [
        "--dataset_config: 'data.yaml' is no data-set file: its name ends in .yaml (write it as .toml or .json)"
    ]


def test_repeats_of_folders_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "pics" / "4294967297_dog").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^--train_data_dir: num_repeats = 4294967297: should be less"):
        read_datasets(config_of(train_data_dir="pics", resolution="512"), None)
