from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loracore.config.config import Config
from loracore.config.dataset_sources import idle_sources
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.config.options import DataOptions, TrainingOptions
from loracore.config.toml_file import read_toml
from loracore.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "dataset.json").read_text("utf-8"))
WRITTEN_OPTIONS = {"resolution": "640,512", "train_batch_size": 3, "dataset_repeats": 7, "enable_bucket": True}

Read = Callable[..., tuple[DatasetSpec, ...]]
Wrong = Callable[..., list[str]]


def config_of(**options: Any) -> Config:
    return Config([DataOptions(**options), TrainingOptions()], {name: f"--{name}" for name in options})


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a data-set file of this text, with these run options."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str, name: str = "data.toml", **options: Any) -> tuple[DatasetSpec, ...]:
        Path(name).write_text(text, "utf-8")
        return read_datasets(config_of(dataset_config=name, **options), None)

    return read_text


@pytest.fixture
def wrong(read: Read) -> Wrong:
    """Read a data-set file that must not pass, and give its problems as a user reads them."""

    def problems(text: str, name: str = "data.toml", **options: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, name, **options)
        return str(caught.value).splitlines()

    return problems


def one(keys: str = "", subset: str = "", general: str = "") -> str:
    """Write a data set of resolution 512 with one subset; the subset's keys begin on line 7."""
    outer = f"[general]\n{general}\n[[datasets]]\n{keys or 'resolution = 512'}\n"
    return f"{outer}\n[[datasets.subsets]]\n{subset}\nimage_dir = 'pics'\n"


# ---- look-up


def test_defaults_are_the_fields(read: Read) -> None:
    (dataset,) = read(one())
    assert (dataset.resolution, dataset.batch_size, dataset.enable_bucket) == ((512, 512), 1, False)
    assert (dataset.bucket_bounds, dataset.bucket_reso_steps, dataset.bucket_no_upscale) == ((256, 1024), 64, False)
    (subset,) = dataset.subsets
    assert (subset.image_dir, subset.num_repeats, subset.caption_extension) == (Path("pics"), 1, ".caption")
    assert (subset.class_tokens, subset.caption_prefix, subset.place) == (None, "", "data.toml:8")


def test_the_innermost_value_wins(read: Read) -> None:
    general = "num_repeats = 2\nclass_tokens = 'g'\ncaption_prefix = 'p'"
    (dataset,) = read(one("resolution = 512\nnum_repeats = 3\nclass_tokens = 'd'", "num_repeats = 4", general))
    (subset,) = dataset.subsets
    assert (subset.num_repeats, subset.class_tokens, subset.caption_prefix) == (4, "d", "p")


def test_the_file_beats_the_run_option(read: Read) -> None:
    (dataset,) = read(one(general="enable_bucket = false"), enable_bucket=True, train_batch_size=3)
    assert (dataset.enable_bucket, dataset.batch_size) == (False, 3)


@pytest.mark.parametrize(
    "case", [case for case in GOLDEN["config"]["cases"] if case["ok"]], ids=lambda case: case["how"]
)
def test_golden_configs_read_as_in_the_field(read: Read, case: dict[str, Any]) -> None:
    options = {**WRITTEN_OPTIONS, "max_bucket_reso": 2048} if case["command_line"] else {}
    (dataset,) = read(json.dumps(case["config"]), "data.json", **options)
    (result,) = case["result"]
    for name in ("batch_size", "enable_bucket", "max_bucket_reso"):
        assert getattr(dataset, name) == result["dataset"][name]
    assert list(dataset.resolution) == result["dataset"]["resolution"]
    for name in ("num_repeats", "class_tokens"):
        assert getattr(dataset.subsets[0], name) == result["subsets"][0][name]


@pytest.mark.parametrize(
    "case", [case for case in GOLDEN["config"]["cases"] if not case["ok"]], ids=lambda case: case["how"]
)
def test_golden_mistakes_are_errors(wrong: Wrong, case: dict[str, Any]) -> None:
    assert wrong(json.dumps(case["config"]), "data.json")


@pytest.mark.parametrize("text", ["[1024, 768]", '"1024,768"', '"1024, 768"'])
def test_a_resolution_is_read_in_every_spelling(read: Read, text: str) -> None:
    assert read(one(f"resolution = {text}"))[0].resolution == (1024, 768)


def test_a_resolution_may_come_from_the_run(read: Read) -> None:
    assert read("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'", resolution="1024,768")[0].resolution == (
        1024,
        768,
    )


def test_the_dot_of_an_extension_may_be_left_out(read: Read) -> None:
    assert read(one(subset="caption_extension = 'txt'"))[0].subsets[0].caption_extension == ".txt"


def test_features_switched_off_pass(read: Read) -> None:
    off = "shuffle_caption = false\ncaption_dropout_rate = 0\nkeep_tokens = 2\nflip_aug = false\nnetwork_multiplier = 1"
    assert read(one(general=off))


# ---- sources


def test_a_data_set_may_stand_in_the_runs_own_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[training]\nseed = 1\n" + one(), "utf-8")
    (dataset,) = read_datasets(config_of(), read_toml(tmp_path / "run.toml"))
    assert dataset.subsets[0].place == f"{tmp_path / 'run.toml'}:10"


def test_a_flag_for_a_data_set_file_beats_the_runs_own(read: Read, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(one(), "utf-8")
    read(one("resolution = 256"))
    found = read_datasets(config_of(dataset_config="data.toml"), read_toml(tmp_path / "run.toml"))
    assert found[0].resolution == (256, 256)


def test_one_file_with_both_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(one(), "utf-8")
    config = Config([DataOptions(dataset_config="data.toml")], {"dataset_config": "run.toml:1"})
    with pytest.raises(ConfigError, match=r"run\.toml:1: .* has \[\[datasets\]\] too"):
        read_datasets(config, read_toml(Path("run.toml")))


def test_a_data_set_file_named_elsewhere_beats_a_data_set_in_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "beneath.toml").write_text(one(), "utf-8")
    read(one("resolution = 256"))
    config = Config([DataOptions(dataset_config="data.toml"), TrainingOptions()], {"dataset_config": "run.toml:1"})
    assert read_datasets(config, read_toml(tmp_path / "beneath.toml"))[0].resolution == (256, 256)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"dataset_config": "data.toml"}, "run.toml:3: [[datasets]] is without effect: --dataset_config wins"),
        (
            {"train_data_dir": "pics"},
            "--train_data_dir: train_data_dir is without effect: [[datasets]] in run.toml wins",
        ),
    ],
)
def test_a_second_place_of_pictures_is_a_note_on_which_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], note: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(one(), "utf-8")
    assert idle_sources(config_of(**options), read_toml(Path("run.toml"))) == (note,)


def test_one_place_of_pictures_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(one(), "utf-8")
    assert idle_sources(config_of(), read_toml(tmp_path / "run.toml")) == ()
    assert idle_sources(config_of(train_data_dir="pics"), None) == ()


def test_no_data_set_at_all_tells_the_three_ways() -> None:
    with pytest.raises(ConfigError, match=r"--train_data_dir FOLDER, --dataset_config FILE, or \[\[datasets\]\]"):
        read_datasets(config_of(), None)


def test_a_plain_folder_is_one_subset(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (dataset,) = read_datasets(config_of(train_data_dir=str(tmp_path), resolution="512", dataset_repeats=4), None)
    (subset,) = dataset.subsets
    assert (subset.image_dir, subset.num_repeats, subset.place) == (tmp_path, 4, "--train_data_dir")


def test_golden_folder_names(tmp_path: Path) -> None:
    for case in GOLDEN["folder_names"]["cases"]:
        (tmp_path / case["folder"]).mkdir()
    (dataset,) = read_datasets(config_of(train_data_dir=str(tmp_path), resolution="512"), None)
    found = {subset.image_dir.name: (subset.num_repeats, subset.class_tokens) for subset in dataset.subsets}
    used = [case for case in GOLDEN["folder_names"]["cases"] if case["used"]]
    assert found == {case["folder"]: (case["num_repeats"], case["class_tokens"]) for case in used}
    assert list(found) == sorted(found)


def test_what_stands_beside_named_folders_is_a_warning(tmp_path: Path) -> None:
    for name in ("5_dog", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.png").touch()
    (dataset,) = read_datasets(config_of(train_data_dir=str(tmp_path), resolution="512"), None)
    assert [warning.partition(": ")[2] for warning in dataset.warnings] == [
        "sub-folders without N_ before their name are not used: other",
        "files beside the sub-folders 5_dog are not used",
    ]


# ---- what is wrong


def test_an_unknown_key_suggests_the_nearest(wrong: Wrong) -> None:
    assert wrong(one(subset="num_repeat = 2")) == [
        "data.toml:7: unknown key 'num_repeat' in [[datasets.subsets]] (did you mean 'num_repeats'?)"
    ]


def test_a_key_at_the_wrong_level_tells_where_it_belongs(wrong: Wrong) -> None:
    assert wrong(one(subset="batch_size = 2")) == [
        "data.toml:7: 'batch_size' belongs in [[datasets]] or [general], not in [[datasets.subsets]] (move it there)"
    ]


def test_a_run_option_is_told_from_a_key(wrong: Wrong) -> None:
    assert wrong(one(general="cache_latents = true"))[0] == (
        "data.toml:2: 'cache_latents' is an option of the run, not a key of [general] "
        "(give it outside the data set, or as --cache_latents)"
    )


def test_the_runs_name_for_a_key_is_translated(wrong: Wrong) -> None:
    assert wrong(one(general="train_batch_size = 2"))[0].endswith("(a data set calls it 'batch_size')")


@pytest.mark.parametrize(
    "line",
    [
        "shuffle_caption = true",
        "caption_dropout_rate = 0.1",
        "keep_tokens_separator = '|||'",
        "flip_aug = true",
        "face_crop_aug_range = [1.0, 2.0]",
        "is_reg = true",
        "metadata_file = 'm.json'",
        "conditioning_data_dir = 'masks'",
        "custom_attributes = {x = 1}",
        "alpha_mask = true",
        "token_warmup_step = 0.5",
        "validation_split = 0.1",
    ],
)
def test_features_of_the_field_that_are_lacking_are_errors(wrong: Wrong, line: str) -> None:
    (problem,) = wrong(one(subset=line))
    assert problem.startswith(f"data.toml:7: {line.split(maxsplit=1)[0]} = ")
    assert problem.endswith("is not supported by this version (leave it out)")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("num_repeats = 2.0", "num_repeats = 2.0: should be a valid integer"),
        ("num_repeats = true", "num_repeats = True: should be a valid integer"),
        ("class_tokens = 3", "class_tokens = 3: should be a valid string"),
        ("resize_interpolation = 'lancos'", "resize_interpolation = 'lancos': should be 'lanczos', 'box', "),
        ("shuffle_caption = 1", "shuffle_caption = 1: should be a valid boolean"),
    ],
)
def test_a_mistyped_value_is_an_error(wrong: Wrong, line: str, said: str) -> None:
    assert wrong(one(subset=line))[0].startswith(f"data.toml:7: {said}")


@pytest.mark.parametrize("value", ["64.0", "'wide'", "[1, 2, 3]", "0", "true", "'512,'", "[512, -512]"])
def test_a_bad_resolution_is_one_error(wrong: Wrong, value: str) -> None:
    (problem,) = wrong(one(f"resolution = {value}"))
    assert problem.startswith("data.toml:4: resolution = ")
    assert 'should be N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT"' in problem


def test_a_bad_resolution_flag_is_named(wrong: Wrong) -> None:
    text = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'"
    assert wrong(text, resolution="big")[0].startswith("--resolution: resolution = 'big': should be N")


def test_a_missing_resolution_is_named(wrong: Wrong) -> None:
    assert wrong("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'") == [
        'data.toml:1: the data set has no resolution (add resolution = 1024, or "WIDTH,HEIGHT")'
    ]


def test_a_resolution_beyond_the_largest_bucket_tells_both_numbers(wrong: Wrong) -> None:
    assert wrong(one("resolution = 1280\nenable_bucket = true"))[0] == (
        "data.toml:4: the resolution 1280x1280 is beyond max_bucket_reso = 1024 "
        "(set max_bucket_reso = 2560, or lower the resolution)"
    )


def test_a_resolution_below_the_smallest_bucket_tells_both_numbers(wrong: Wrong) -> None:
    text = "resolution = [2048, 128]\nenable_bucket = true\nmax_bucket_reso = 2048"
    assert wrong(one(text))[0].startswith("data.toml:4: the resolution 2048x128 is below min_bucket_reso = 256")


def test_a_resolution_that_no_latent_fits_is_an_error(wrong: Wrong) -> None:
    assert wrong(one("resolution = [500, 512]"))[0].endswith("500x512 is not a multiple of 8 (496x512 is)")


@pytest.mark.parametrize("number", range(5))
def test_golden_bucket_bounds(read: Read, wrong: Wrong, number: int) -> None:
    case = GOLDEN["min_max_adjust"]["cases"][number]
    names = {
        "resolution": "resolution",
        "min": "min_bucket_reso",
        "max": "max_bucket_reso",
        "steps": "bucket_reso_steps",
    }
    text = one("enable_bucket = true\n" + "\n".join(f"{key} = {case[name]}" for name, key in names.items()))
    if "error" in case:
        assert len(wrong(text)) == 1
    else:
        assert list(read(text)[0].bucket_bounds) == case["effective"]


def test_bounds_that_are_no_whole_steps_are_a_warning(read: Read) -> None:
    (dataset,) = read(one("resolution = 512\nenable_bucket = true\nmin_bucket_reso = 300"))
    assert dataset.warnings == (
        "data.toml:3: buckets have sides of 256 to 1024, multiples of bucket_reso_steps, not 300 to 1024",
    )


def test_buckets_too_short_for_wide_pictures_are_a_warning(read: Read) -> None:
    (dataset,) = read(one("resolution = 1024\nenable_bucket = true"))
    assert dataset.warnings[0].endswith("resolution 1024x1024 asks for; 2048 would not")


def test_a_subset_without_repeats_is_left_out(read: Read) -> None:
    (dataset,) = read(one(subset="num_repeats = 0"))
    assert dataset.subsets == ()
    assert dataset.warnings == ("data.toml:8: pics is not used: its num_repeats is 0",)


def test_a_folder_named_twice_is_used_once(read: Read) -> None:
    (dataset,) = read(one() + "[[datasets.subsets]]\nimage_dir = 'pics/'\nnum_repeats = 3")
    assert [subset.num_repeats for subset in dataset.subsets] == [1]
    assert dataset.warnings == ("data.toml:10: pics is not used again: data.toml:8 names it already",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "data.toml: the data-set file has no datasets (add a [[datasets]] table)"),
        ("[datasets]\nresolution = 64", "data.toml:1: datasets must be a list of tables (write [[datasets]])"),
        ("[[datasets]]\nresolution = 64", "data.toml:1: the data set has no datasets.subsets "),
        ("general = 3\n" + one().partition("\n\n")[2], "data.toml:1: general must be a table (write [general])"),
        (
            "[generl]\n" + one(),
            "data.toml:1: 'generl' does not belong at the top of a data-set file (did you mean 'gen",
        ),
        ("[[datasets]]\nresolution = 64\n[[datasets.subsets]]", "data.toml:3: the subset has no image_dir"),
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


def test_every_problem_is_told_at_once(wrong: Wrong) -> None:
    found = wrong(one("resolution = 'x'\nfoo = 1", "batch_size = 1\nflip_aug = true", "num_repeats = 'a'"))
    assert [problem.partition(": ")[0] for problem in found] == [f"data.toml:{line}" for line in (2, 4, 5, 8, 9)]
