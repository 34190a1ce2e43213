from __future__ import annotations

import pytest

from tests.loracore.config.data_files import Read, one, two


def test_bounds_that_are_no_whole_steps_are_a_note(read: Read) -> None:
    (dataset,) = read(one("resolution = 512\nenable_bucket = true\nmin_bucket_reso = 300"))
    assert dataset.warnings == (
        "data.toml:3: buckets have sides of 256 to 1024, multiples of bucket_reso_steps, not 300 to 1024",
    )


def test_buckets_too_short_for_wide_pictures_are_a_note(read: Read) -> None:
    (dataset,) = read(one("resolution = 1024\nenable_bucket = true"))
    assert dataset.warnings[0].endswith("resolution 1024x1024 asks for; 2048 would not")


def test_faces_are_not_cut_out_of_buckets(read: Read) -> None:
    (dataset,) = read(one("resolution = 512\nenable_bucket = true", "face_crop_aug_range = [1, 2]"))
    assert dataset.warnings == (
        "data.toml:8: face_crop_aug_range is without effect: no faces are cut out where buckets are on",
    )


def test_a_kept_index_is_nothing_to_ask_for(read: Read) -> None:
    (dataset,) = read("[general]\ncache_info = true\n" + two("image_dir = 'a'", "image_dir = 'b'"))
    assert dataset.warnings == (
        "data.toml:2: cache_info is without effect: the index is always kept and always checked",
    )


def test_masks_are_used_unasked_and_this_is_said_once(read: Read) -> None:
    text = two("image_dir = 'a'\nconditioning_data_dir = 'm'", "image_dir = 'b'\nconditioning_data_dir = 'm'")
    (note,) = read(text)[0].warnings
    assert note.startswith("data.toml:4: the masks of conditioning_data_dir are used although masked_loss is off")
    assert read(text, masked_loss=True)[0].warnings == ()


@pytest.mark.parametrize("masks", ["alpha_mask = true", "conditioning_data_dir = 'm'", ""])
def test_masked_loss_without_masks_is_a_note(read: Read, masks: str) -> None:
    expected = "--masked_loss: masked_loss is without effect: no subset has alpha_mask or conditioning_data_dir"
    assert read(one(subset=masks), masked_loss=True)[0].warnings == (() if masks else (expected,))


def test_masks_that_every_subset_names_itself_make_the_flag_idle(read: Read) -> None:
    text = one(subset="conditioning_data_dir = 'm'")
    assert read(text, masked_loss=True, conditioning_data_dir="n")[0].warnings == (
        "--conditioning_data_dir: conditioning_data_dir is without effect: every subset names its own",
    )


@pytest.mark.parametrize("cached", [True, False])
def test_random_pixels_quietly_win_over_a_cache_that_nobody_asked_for(read: Read, cached: bool) -> None:
    notes = read(one(subset="random_crop = true"), **({} if cached else {"cache_latents": False}))[0].warnings
    said = "data.toml:7: pictures are encoded in every step, not once: random_crop changes them each time"
    assert notes == ((said,) if cached else ())


@pytest.mark.parametrize(
    ("options", "matters"),
    [
        ({"keep_tokens": 2}, {"shuffle_caption": True}),
        ({"keep_tokens": 2}, {"caption_tag_dropout_rate": 0.1}),
        ({"token_warmup_min": 2}, {"token_warmup_step": 9}),
        ({"validation_seed": 2}, {"validation_split": 0.1}),
    ],
)
def test_flags_that_change_nothing_are_notes(
    read: Read, options: dict[str, object], matters: dict[str, object]
) -> None:
    (name,) = options
    assert read(one(), **options)[0].warnings[0].startswith(f"--{name}: {name} is without effect: no ")
    assert read(one(), **options, **matters)[0].warnings == ()


def test_a_weight_for_regularisation_needs_some(read: Read) -> None:
    (note,) = read(one(), prior_loss_weight=0.5)[0].warnings
    assert note == "--prior_loss_weight: prior_loss_weight is without effect: no subset is regularisation"
    assert read(one(), prior_loss_weight=1.0)[0].warnings == ()


def test_the_same_in_a_file_is_no_note(read: Read) -> None:
    assert read(one(general="keep_tokens = 2\ntoken_warmup_min = 3"))[0].warnings == ()
