from __future__ import annotations

from typing import Any

import pytest

from tests.loracore.config.data_files import Read, Wrong, golden, one, two

EDGES = {
    "resolution": "resolution",
    "min": "min_bucket_reso",
    "max": "max_bucket_reso",
    "steps": "bucket_reso_steps",
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[datasets]\nresolution = 64", "data.toml:1: datasets must be a list of tables (write [[datasets]])"),
        ("[[datasets]]\nresolution = 64", "data.toml:1: the data set has no datasets.subsets "),
        ("general = 3\n" + one().partition("\n\n")[2], "data.toml:1: general must be a table (write [general])"),
        ("[[datasets]]\nresolution = 64\n[[datasets.subsets]]", "data.toml:3: the subset has no image_dir"),
    ],
)
def test_a_misshapen_table_is_an_error(wrong: Wrong, text: str, said: str) -> None:
    assert wrong(text)[0].startswith(said)


def test_a_null_for_the_folder_is_no_folder(wrong: Wrong) -> None:
    text = '{"datasets": [{"resolution": 64, "subsets": [{"image_dir": null}]}]}'
    assert wrong(text, "data.json")[0].startswith(
        "data.json at datasets[0].subsets[0].metadata_file: the subset has no"
    )


# ---- sizes


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


def test_nothing_is_concluded_from_a_size_that_is_wrong_itself(wrong: Wrong) -> None:
    text = "resolution = 64\nenable_bucket = true\nmin_bucket_reso = 'x'"
    assert [problem.partition(":")[0:2] for problem in wrong(one(text))] == [("data.toml", ":")]


@pytest.mark.parametrize("case", golden("min_max_adjust"), ids=str)
def test_golden_bucket_bounds(read: Read, wrong: Wrong, case: dict[str, Any]) -> None:
    text = one("enable_bucket = true\n" + "\n".join(f"{key} = {case[name]}" for name, key in EDGES.items()))
    if "error" in case:
        assert len(wrong(text)) == 1
    else:
        assert list(read(text)[0].bucket_bounds) == case["effective"]


# ---- subsets that contradict each other


def test_a_data_set_of_both_styles_names_its_subsets(wrong: Wrong) -> None:
    (problem,) = wrong(two("image_dir = 'a'", "image_dir = 'b'\nmetadata_file = 'm.json'"))
    assert problem == (
        "data.toml:7: one data set mixes subsets with a metadata_file (data.toml:7) and without (data.toml:4) "
        "(give each kind a [[datasets]] of its own)"
    )


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [("validation_seed", "3", "4"), ("network_multiplier", "2.0", "0.5")],
)
def test_subsets_that_disagree_about_their_data_set_are_both_named(
    wrong: Wrong, key: str, first: str, second: str
) -> None:
    (problem,) = wrong(two(f"image_dir = 'a'\n{key} = {first}", f"image_dir = 'b'\n{key} = {second}"))
    said = f"but {first} for data.toml:4 and {second} for data.toml:8 "
    assert problem.startswith(f"data.toml:5: {key} is one for the whole data set, {said}")


def test_a_subset_that_says_nothing_disagrees_too(wrong: Wrong) -> None:
    (problem,) = wrong(two("image_dir = 'a'", "image_dir = 'b'\nvalidation_seed = 1"))
    assert problem.startswith(
        "data.toml:8: validation_seed is one for the whole data set, but unset for data.toml:4 and 1"
    )


def test_regularisation_has_no_say_in_validation(read: Read) -> None:
    text = two("image_dir = 'r'\nis_reg = true\nvalidation_split = 0.2", "image_dir = 'a'\nvalidation_seed = 3")
    (dataset,) = read(text, validation_split=0.5)
    assert [dataset.share_held_out(subset) for subset in dataset.subsets] == [0, 0.5]
    assert dataset.validation_seed == 3


def test_every_subset_may_hold_out_a_share_of_its_own(read: Read) -> None:
    text = two("image_dir = 'a'\nvalidation_split = 1.0", "image_dir = 'b'\nvalidation_split = 0")
    text += "[[datasets.subsets]]\nimage_dir = 'c'\n"
    (dataset,) = read(text, validation_split=0.1)
    assert [dataset.share_held_out(subset) for subset in dataset.subsets] == [1.0, 0, 0.1]


# ---- options that contradict the data set


@pytest.mark.parametrize("option", ["cache_latents", "cache_latents_to_disk"])
def test_random_pixels_contradict_latents_that_are_asked_for(wrong: Wrong, option: str) -> None:
    (problem,) = wrong(one(subset="color_aug = true"), **{option: True})
    assert problem == (
        f"data.toml:7: color_aug changes the pixels of pics each time, but {option} keeps them encoded "
        f"(leave out color_aug, or {option} (--{option}))"
    )


def test_one_place_of_random_pixels_is_one_error(wrong: Wrong) -> None:
    text = "[general]\nrandom_crop = true\n" + two("image_dir = 'a'", "image_dir = 'b'")
    (problem,) = wrong(text, cache_latents=True)
    assert problem.startswith("data.toml:2: random_crop changes the pixels of a, b each time")


@pytest.mark.parametrize("buckets", [False, True])
def test_faces_are_cut_out_where_there_are_no_buckets_only(read: Read, wrong: Wrong, buckets: bool) -> None:
    text = one(f"resolution = 512\nenable_bucket = {str(buckets).lower()}", "face_crop_aug_range = [1, 2]")
    if buckets:
        assert read(text, cache_latents=True)[0].subsets[0].augmentations.face_crop_aug_range is None
    else:
        assert "face_crop_aug_range changes the pixels" in wrong(text, cache_latents=True)[0]


def test_one_folder_of_masks_cannot_be_told_to_two_subsets(wrong: Wrong) -> None:
    (problem,) = wrong(two("image_dir = 'a'", "image_dir = 'b'"), conditioning_data_dir="masks")
    assert problem.startswith("--conditioning_data_dir: conditioning_data_dir is one folder of masks, but 2 subsets")
