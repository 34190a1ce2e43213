from __future__ import annotations

from pathlib import Path

import pytest

from tests.loracore.config.data_files import Read, one, two


@pytest.mark.parametrize(("written", "meant"), [("txt", ".txt"), (".txt", ".txt")])
def test_the_dot_of_an_extension_may_be_left_out(read: Read, written: str, meant: str) -> None:
    assert read(one(subset=f"caption_extension = '{written}'"))[0].subsets[0].caption_extension == meant


def test_a_subset_without_repeats_is_left_out(read: Read) -> None:
    (dataset,) = read(one(subset="num_repeats = 0"))
    assert dataset.subsets == ()
    assert dataset.warnings == ("data.toml:8: pics is not used: its num_repeats is 0",)


@pytest.mark.parametrize(
    ("first", "second", "used"),
    [
        ("image_dir = 'a'", "image_dir = 'a/'", 1),
        ("image_dir = 'a'", "image_dir = './b/../a'", 1),
        ("image_dir = 'a'", "image_dir = 'a'\nis_reg = true", 1),
        ("image_dir = 'a'\nnum_repeats = 0", "image_dir = 'a'", 1),
        ("metadata_file = 'm.json'", "metadata_file = './m.json'\nimage_dir = 'a'", 1),
        ("metadata_file = 'm.json'\nimage_dir = 'a'", "metadata_file = 'n.json'\nimage_dir = 'a'", 2),
        ("image_dir = 'a'\nconditioning_data_dir = 'm'", "image_dir = 'a'\nconditioning_data_dir = 'm/'", 1),
        ("image_dir = 'a'\nconditioning_data_dir = 'm'", "image_dir = 'a'\nconditioning_data_dir = 'n'", 2),
    ],
)
def test_pictures_named_twice_are_used_once(read: Read, first: str, second: str, used: int) -> None:
    (dataset,) = read(two(first, second), masked_loss=True, alpha_mask=True)
    assert (len(dataset.subsets), len(dataset.warnings)) == (used, 2 - used)


def test_a_folder_named_twice_tells_both_places(read: Read) -> None:
    (dataset,) = read(two("image_dir = 'a'", "image_dir = 'a/'\nnum_repeats = 3"))
    assert [subset.num_repeats for subset in dataset.subsets] == [1]
    assert dataset.warnings == ("data.toml:7: a is not used again: data.toml:4 names it already",)


def test_a_folder_in_two_data_sets_is_used_twice(read: Read) -> None:
    text = two("image_dir = 'a'", "image_dir = 'b'")
    assert [len(dataset.subsets) for dataset in read(text + text)] == [2, 2]


def test_regularisation_weighs_as_the_run_says(read: Read) -> None:
    text = two("metadata_file = 'm.json'", "metadata_file = 'r.json'\nis_reg = true")
    (dataset,) = read(text, prior_loss_weight=0.25)
    assert [subset.loss_weight for subset in dataset.subsets] == [1.0, 0.25]


def test_the_masks_of_the_run_are_those_of_the_one_training_subset(read: Read) -> None:
    text = two("image_dir = 'a'", "image_dir = 'r'\nis_reg = true")
    (dataset,) = read(text, conditioning_data_dir="masks", masked_loss=True)
    assert [subset.conditioning_data_dir for subset in dataset.subsets] == [Path("masks"), None]


def test_what_a_file_leaves_out_is_as_the_run_says(read: Read) -> None:
    run: dict[str, object] = {"resolution": "640,512", "train_batch_size": 3, "enable_bucket": True}
    run |= {"min_bucket_reso": 128, "max_bucket_reso": 2048, "bucket_reso_steps": 32, "bucket_no_upscale": True}
    run |= {"validation_split": 0.25, "validation_seed": 7}
    (dataset,) = read("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'pics'\n", **run)
    assert (dataset.resolution, dataset.batch_size, dataset.enable_bucket) == ((640, 512), 3, True)
    assert (dataset.bucket_bounds, dataset.bucket_reso_steps, dataset.bucket_no_upscale) == ((128, 2048), 32, True)
    assert (dataset.validation_split, dataset.validation_seed) == (0.25, 7)


def test_what_a_subset_leaves_out_is_as_the_run_says(read: Read) -> None:
    (dataset,) = read(one(), caption_extension=".cap", resize_interpolation="nearest", alpha_mask=True)
    (subset,) = dataset.subsets
    assert (subset.caption_extension, subset.resize_interpolation, subset.alpha_mask) == (".cap", "nearest", True)


def test_every_caption_rule_comes_through(read: Read) -> None:
    lines = {
        "caption_prefix": "p",
        "caption_suffix": "s",
        "caption_separator": ";",
        "secondary_separator": ";;;",
        "enable_wildcard": True,
        "keep_tokens": 2,
        "keep_tokens_separator": "|||",
        "shuffle_caption": True,
        "token_warmup_min": 3,
        "token_warmup_step": 0.5,
        "caption_tag_dropout_rate": 0.1,
        "caption_dropout_rate": 0.2,
        "caption_dropout_every_n_epochs": 4,
        "legacy_captions": True,
    }
    rules = read(one(), **lines)[0].subsets[0].captions
    assert {name: getattr(rules, name) for name in rules.__slots__} == lines


def test_every_augmentation_comes_through(read: Read) -> None:
    lines = "flip_aug = true\ncolor_aug = true\nrandom_crop = true\nface_crop_aug_range = '1,2.5'"
    found = read(one(general=lines))[0].subsets[0].augmentations
    assert (found.flip_aug, found.color_aug, found.random_crop) == (True, True, True)
    assert found.face_crop_aug_range == (1.0, 2.5)


def test_attributes_of_ones_own_are_replaced_whole(read: Read) -> None:
    (subset,) = read(one("resolution = 512\ncustom_attributes = {a = 1}", "custom_attributes = {b = 2}"))[0].subsets
    assert dict(subset.custom_attributes) == {"b": 2}
