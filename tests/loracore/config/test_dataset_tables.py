from __future__ import annotations

import pytest

from loracore.config.dataset_tables import Layers, RunNames, Table, check_table, run_names, run_table
from tests.loracore.config.data_files import Read, Wrong, config_from, config_of, one


def test_the_innermost_value_wins(read: Read) -> None:
    general = "num_repeats = 2\nclass_tokens = 'g'\ncaption_prefix = 'p'"
    (dataset,) = read(one("resolution = 512\nnum_repeats = 3\nclass_tokens = 'd'", "num_repeats = 4", general))
    (subset,) = dataset.subsets
    assert (subset.num_repeats, subset.class_tokens, subset.captions.caption_prefix) == (4, "d", "p")


def test_the_file_beats_the_run_option(read: Read) -> None:
    (dataset,) = read(one(general="enable_bucket = false"), enable_bucket=True, train_batch_size=3)
    assert (dataset.enable_bucket, dataset.batch_size) == (False, 3)


def test_a_wrong_value_hides_those_further_out() -> None:
    inner = Table({}, ("num_repeats",), lambda name: f"inner:{name}")
    layers = Layers((inner, Table({"num_repeats": 2}, ("num_repeats",), str)))
    assert layers["num_repeats"] is None
    assert layers.misreads("num_repeats")
    assert layers.place("num_repeats") == "inner:num_repeats"


def test_null_counts_as_not_given() -> None:
    assert check_table({"class_tokens": None, "nonsense": None}, "subsets", str, RunNames()).given == ()


def test_the_misspelt_extension_wins_as_it_always_has() -> None:
    table = run_table(config_of(caption_extention="txt", caption_extension=".caption"))
    assert table.values["caption_extension"] == "txt"
    assert table.place("caption_extension") == "--caption_extention"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolution": "big"}, "--resolution: resolution = 'big': should be N"),
        (
            {"face_crop_aug_range": "3,1"},
            "--face_crop_aug_range: face_crop_aug_range = '3,1': should be [LOWER, UPPER]",
        ),
        ({"caption_separator": ""}, "--caption_separator: caption_separator = '': String should have at least 1"),
        ({"bucket_reso_steps": 20}, "--bucket_reso_steps: bucket_reso_steps = 20: should be a multiple of 8"),
    ],
)
def test_run_options_are_checked_like_keys(wrong: Wrong, options: dict[str, object], said: str) -> None:
    (problem,) = wrong("[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = 'x'", **options)
    assert problem.startswith(said)


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
    ("line", "said"),
    [
        ("num_repeats = 2.0", "num_repeats = 2.0: should be a valid integer"),
        ("num_repeats = true", "num_repeats = True: should be a valid integer"),
        ("class_tokens = 3", "class_tokens = 3: should be a valid string"),
        ("resize_interpolation = 'lancos'", "resize_interpolation = 'lancos': should be 'lanczos', 'box', "),
        ("shuffle_caption = 1", "shuffle_caption = 1: should be a valid boolean"),
        ("validation_split = 1.5", "validation_split = 1.5: should be less than or equal to 1"),
        ("validation_split = -0.1", "validation_split = -0.1: should be greater than or equal to 0"),
        ("caption_dropout_rate = nan", "caption_dropout_rate = nan: should be "),
        ("network_multiplier = inf", "network_multiplier = inf: should be a finite number"),
        ("face_crop_aug_range = [2, 1]", "face_crop_aug_range = [2, 1]: should be [LOWER, UPPER]"),
        ("keep_tokens = -1", "keep_tokens = -1: should be greater than or equal to 0"),
        ("metadata_file = ''", "metadata_file = '': String should have at least 1 character"),
        ('conditioning_data_dir = "a\\u0000b"', "conditioning_data_dir = 'a\\x00b': should hold no NUL character"),
        ("num_repeats = 4294967297", "num_repeats = 4294967297: should be less than or equal to 1048576"),
        ("token_warmup_min = -1", "token_warmup_min = -1: should be greater than or equal to 0"),
        ("face_crop_aug_range = [0, 2]", "face_crop_aug_range = [0, 2]: should be [LOWER, UPPER]"),
        ("caption_separator = ''", "caption_separator = '': String should have at least 1 character"),
    ],
)
def test_a_mistyped_value_is_an_error(wrong: Wrong, line: str, said: str) -> None:
    assert wrong(one(subset=line))[0].startswith(f"data.toml:7: {said}")


@pytest.mark.parametrize("value", ["64.0", "'wide'", "[1, 2, 3]", "true"])
def test_a_bad_resolution_is_one_error(wrong: Wrong, value: str) -> None:
    (problem,) = wrong(one(f"resolution = {value}"))
    assert problem.startswith("data.toml:4: resolution = ")
    assert 'should be N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT"' in problem


def test_every_problem_is_told_at_once(wrong: Wrong) -> None:
    found = wrong(one("resolution = 'x'\nfoo = 1", "batch_size = 1\nflip_aug = 1", "num_repeats = 'a'"))
    assert [problem.partition(": ")[0] for problem in found] == [f"data.toml:{line}" for line in (2, 4, 5, 8, 9)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("batch_size = 4611686018427387904", "should be less than or equal to 1048576"),
        ("max_bucket_reso = 2000000000", "should be less than or equal to 65536"),
        ("bucket_reso_steps = 65544", "should be less than or equal to 65536"),
        ("resolution = 640000000", "should have sides of at most 65536 pixels"),
        ("resolution = [64, 65537]", "should have sides of at most 65536 pixels"),
    ],
)
def test_sizes_and_batches_have_an_end(wrong: Wrong, line: str, said: str) -> None:
    keys = line if line.startswith("resolution") else f"resolution = 512\n{line}"
    assert [problem.endswith(said) for problem in wrong(one(keys))] == [True]


def test_a_resolution_of_many_digits_is_too_large(wrong: Wrong) -> None:
    (problem,) = wrong(one(f"resolution = '{'9' * 5000}'"))
    assert problem.endswith("should have sides of at most 65536 pixels")


@pytest.mark.parametrize("value", ["", ".", " "])
def test_captions_need_an_extension(wrong: Wrong, value: str) -> None:
    (problem,) = wrong(one(subset=f"caption_extension = '{value}'"))
    assert problem.startswith(f"data.toml:7: caption_extension = '{value}': ")
    assert problem.endswith('(write ".txt", or ".caption" as without it)')
    (as_option,) = wrong(one(), caption_extension=value)
    assert as_option.startswith("--caption_extension: ")


def test_one_subset_too_few_letters_is_understood(wrong: Wrong) -> None:
    found = wrong("[[datasets]]\nresolution = 64\n[[datasets.subset]]\nimage_dir = 'x'")
    assert "data.toml:3: unknown key 'subset' in [[datasets]] (did you mean 'subsets'?)" in found


def test_an_unknown_key_may_be_an_option_of_an_architecture(wrong: Wrong) -> None:
    (problem,) = wrong(one(general="max_token_length = 150"))
    assert problem.startswith("data.toml:2: unknown key 'max_token_length' in [general] (if it is an option of an arch")


def test_with_an_architecture_every_option_is_known() -> None:
    assert run_names(config_from("--arch", "any")).complete
    assert not run_names(config_from()).complete
    (problem,) = check_table({"max_token_length": 150}, "general", str, RunNames()).problems
    assert problem.fix == ""
