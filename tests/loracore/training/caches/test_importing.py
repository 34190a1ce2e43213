from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from loracore.data.cache_keys import text_key
from loracore.types import FieldFiles
from tests.loracore.training.beside import OWN, PLAIN, SIZED, TEXT, Beside, set_time


@pytest.fixture
def beside(toy_config: Path) -> Beside:
    return Beside.of(toy_config)


def test_a_valid_file_becomes_an_entry_that_is_drawn_as_its_mean(beside: Beside) -> None:
    beside.write("1.png")
    notes = beside.import_latents()
    assert notes == (
        "1 latents are those of .npz files beside the pictures; which VAE made them is not recorded in such files",
    )
    found = beside.latents("1.png")
    assert found is not None
    raw = torch.from_numpy(beside.field_arrays("1.png")["latents"])
    torch.testing.assert_close(found["mean"], (raw - 0.25) * 0.5, rtol=0, atol=0)
    assert (0.5 * found["log_variance"]).exp().max() < 1e-12
    assert beside.latents("3.png") is None


def test_without_such_files_nothing_happens(beside: Beside) -> None:
    assert beside.import_latents() == ()
    assert beside.import_texts() == ()


def test_an_architecture_without_such_files_reads_none(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=None)  # then the core's own answer to field_files counts
    beside.write("1.png")
    write_text(beside, "1.png")
    assert beside.import_latents() == ()
    assert beside.import_texts() == ()


def test_sized_keys_are_found_by_the_latents_size(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=FieldFiles(SIZED, TEXT))
    np.savez(beside.place("1.png"), **beside.field_arrays("1.png", "_8x8"))
    assert len(beside.import_latents()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"latents": np.zeros((3, 4, 4), dtype=np.float32)},
        {"latents": np.full((3, 8, 8), np.nan, dtype=np.float32)},
        {"original_size": np.array([65, 64])},
        {"crop_ltrb": np.array([1.0, 0.0, 64.0, 64.0])},
        {"loracore_key": np.zeros(16, dtype=np.uint8)},
    ],
)
def test_a_file_that_does_not_fit_is_left_alone(beside: Beside, changes: dict[str, Any]) -> None:
    beside.write("1.png", **changes)
    assert beside.import_latents() == ()
    assert beside.latents("1.png") is None


def test_another_tools_latents_never_get_the_key_of_our_own(beside: Beside) -> None:
    path = beside.write("1.png")
    beside.import_latents()
    assert (beside.keys.slots(beside.store)[:, 0] < 0).all()
    path.unlink()
    assert beside.latents("1.png") is None
    beside.write("1.png", latents=np.full((3, 8, 8), 4.25, dtype=np.float32))
    assert beside.latents("1.png") is None  # the file is another now
    assert len(beside.import_latents()) == 1
    found = beside.latents("1.png")
    assert found is not None
    assert set(found["mean"].flatten().tolist()) == {2}


def test_every_run_that_uses_such_latents_says_so(beside: Beside) -> None:
    beside.write("1.png")
    notes = beside.import_latents()
    entries = beside.store.usage()[0]
    assert beside.import_latents() == notes
    assert beside.store.usage()[0] == entries


def test_our_own_latents_come_before_those_of_another_tool(beside: Beside) -> None:
    beside.export_latents()
    beside.write("1.png")
    assert beside.import_latents() == ()


def test_what_loracore_wrote_gets_the_key_of_our_own(toy_config: Path) -> None:
    Beside.of(toy_config).export_latents()
    fresh = Beside.of(toy_config)
    assert fresh.import_latents() == (
        "6 latents were read from .npz files beside the pictures, as loracore wrote them",
    )
    assert (fresh.keys.slots(fresh.store)[:, 0] >= 0).all()
    assert fresh.import_latents() == ()


def test_another_tools_latents_are_refused_where_pictures_are_resized_in_another_way(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--resize_interpolation", "nearest")
    beside.write("1.png")
    assert beside.import_latents() == ()


def test_a_file_older_than_its_picture_is_stale(beside: Beside) -> None:
    set_time(beside.write("1.png"), 1000)
    assert beside.import_latents() == ()


def test_pictures_that_exif_turns_are_encoded_anew(toy_config: Path, pictures: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (64, 64)).save(pictures / "turned.jpg", exif=exif)
    beside = Beside.of(toy_config)
    beside.write("turned.jpg")
    assert beside.import_latents() == ()


def test_two_pictures_that_share_a_file_are_encoded_anew(toy_config: Path, pictures: Path) -> None:
    Image.new("RGB", (64, 64)).save(pictures / "1.jpg")
    beside = Beside.of(toy_config)
    beside.write("1.png")
    assert beside.import_latents() == ()


def test_pictures_with_masks_of_a_folder_are_encoded_anew(toy_config: Path, pictures: Path) -> None:
    # the pictures are their own masks
    beside = Beside.of(toy_config, "--masked_loss", "--conditioning_data_dir", str(pictures))
    beside.write("1.png")
    assert beside.import_latents() == ()


def test_mirror_images_come_from_the_same_file(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--flip_aug")
    beside.write("1.png")
    assert beside.import_latents() == ()
    beside.write("1.png", latents_flipped=np.full((3, 8, 8), 4.25, dtype=np.float32))
    assert beside.import_latents()[0].startswith("2 latents")
    mirrored = beside.latents("1.png", flipped=True)
    assert mirrored is not None
    assert set(mirrored["mean"].flatten().tolist()) == {2}


def test_alpha_becomes_the_mask_reduced_by_areas_and_mirrored_with_the_picture(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--flip_aug", "--alpha_mask", "--masked_loss")
    flipped = np.zeros((3, 8, 8), dtype=np.float32)
    beside.write("1.png", latents_flipped=flipped)
    assert beside.import_latents() == ()  # without its mask it is of no use
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[:4, :8] = 1
    beside.write("1.png", latents_flipped=flipped, alpha_mask=alpha)
    beside.import_latents()
    plain, mirrored = beside.latents("1.png"), beside.latents("1.png", flipped=True)
    assert plain is not None
    assert mirrored is not None
    assert [float(plain["mask"][0, 0, 0]), float(plain["mask"].sum())] == [0.5, 0.5]
    assert [float(mirrored["mask"][0, 0, 7]), float(mirrored["mask"].sum())] == [0.5, 0.5]


def test_a_mask_that_the_subset_does_not_want_is_not_taken(beside: Beside) -> None:
    beside.write("1.png", alpha_mask=np.zeros((64, 64), dtype=np.float32))
    beside.import_latents()
    found = beside.latents("1.png")
    assert found is not None
    assert "mask" not in found


def test_damaged_files_are_one_note_and_no_error(beside: Beside) -> None:
    for name in ("1.png", "3.png", "5.png", "0.png"):
        beside.place(name).write_bytes(b"PK\x03\x04 and no more")
    (note,) = beside.import_latents()
    assert note.startswith("4 damaged .npz files beside the pictures are left aside: ")
    assert note.endswith(", …")


def write_text(beside: Beside, name: str, *, width: int = 5) -> Path:
    path = beside.index.path(beside.row(name)).with_name(name.removesuffix(".png") + "_toy_te.npz")
    np.savez(path, first=np.arange(3, dtype=np.float32), second=np.arange(3, 3 + width, dtype=np.float32))
    return path


def test_a_valid_file_of_a_caption_is_taken_over(beside: Beside) -> None:
    write_text(beside, "1.png")
    (note,) = beside.import_texts()
    assert note.startswith("1 captions are those of .npz files beside the pictures; which text encoders made them")
    found = beside.text("picture number 1")
    assert found is not None
    assert found["pooled"].tolist() == [*range(8)]


@pytest.mark.parametrize("words", [("--fp8_base",), ("--base_weights", "te.safetensors"), ()])
def test_another_tools_captions_are_left_aside_where_options_change_what_they_cannot_record(
    toy_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    factors = {f"lora_te1_projection.lora_{side}.weight": torch.ones(8, 8) for side in ("up", "down")}
    save_file(factors, "te.safetensors")
    beside = Beside.of(toy_config, *words)
    write_text(beside, "1.png")
    found = beside.import_texts()
    if not words:
        assert found[0].startswith("1 captions are those")
        return
    name = words[0].removeprefix("--")
    assert found == (f"1 .npz files of captions beside the pictures are left aside: they know nothing of {name}",)
    assert beside.text("picture number 1") is None


def test_our_own_captions_are_taken_whatever_the_options(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--fp8_base")
    beside.export_texts()
    fresh = Beside.of(toy_config, "--fp8_base")
    (note,) = fresh.import_texts()
    assert "as loracore wrote them" in note


def test_options_that_the_file_records_rule_it_out_by_its_arrays_alone(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--fp8_base", layout=FieldFiles(PLAIN, replace(TEXT, recorded=("fp8_base",))))
    write_text(beside, "1.png")
    assert beside.import_texts()[0].startswith("1 captions are those")


def test_another_tools_captions_never_get_the_key_of_our_own(beside: Beside) -> None:
    path = write_text(beside, "1.png")
    notes = beside.import_texts()
    assert beside.import_texts() == notes  # every run says so
    assert beside.store.slot(text_key(OWN, "picture number 1")) < 0
    path.unlink()
    assert beside.text("picture number 1") is None


def test_a_caption_of_several_pictures_is_taken_once(toy_config: Path, pictures: Path) -> None:
    (pictures / "3.txt").write_text("picture number 1", "utf-8")
    beside = Beside.of(toy_config)
    for name in ("1.png", "3.png"):
        write_text(beside, name)
    assert beside.import_texts()[0].startswith("1 captions")


def test_captions_of_text_encoders_of_another_width_are_encoded_anew(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=FieldFiles(PLAIN, replace(TEXT, encoders={"te1": 768})))
    write_text(beside, "1.png")
    assert beside.import_texts() == ()


def test_captions_take_the_runs_precision(beside: Beside) -> None:
    half = replace(beside, loading=replace(beside.loading, dtype=torch.bfloat16))
    write_text(half, "1.png")
    half.import_texts()
    found = half.text("picture number 1")
    assert found is not None
    assert found["pooled"].dtype == torch.bfloat16


def test_a_caption_of_another_width_is_left_alone(beside: Beside) -> None:
    write_text(beside, "1.png", width=6)
    assert beside.import_texts() == ()


def test_a_caption_that_rules_change_is_encoded_anew(toy_config: Path) -> None:
    beside = Beside.of(toy_config, "--caption_prefix", "photo of")
    write_text(beside, "1.png")
    assert beside.import_texts() == ()


@pytest.mark.parametrize("changed", ["1.txt", "1.png"])
def test_a_caption_file_older_than_caption_or_picture_is_stale(toy_config: Path, pictures: Path, changed: str) -> None:
    for path in pictures.iterdir():
        set_time(path, 1000)
    set_time(pictures / changed, 3000)
    beside = Beside.of(toy_config)
    set_time(write_text(beside, "1.png"), 2000)
    assert beside.import_texts() == ()
    set_time(pictures / "1_toy_te.npz", 3000)
    assert len(beside.import_texts()) == 1


def test_captions_are_taken_only_where_all_text_encoders_are_cached(toy_config: Path) -> None:
    layout = FieldFiles(PLAIN, replace(TEXT, encoders={"te1": 8, "te2": 8}))
    beside = Beside.of(toy_config, layout=layout)
    write_text(beside, "1.png")
    assert beside.import_texts() == ()


def test_a_damaged_file_of_a_caption_is_a_note(beside: Beside) -> None:
    write_text(beside, "1.png").write_bytes(b"")
    (note,) = beside.import_texts()
    assert note.startswith("1 damaged .npz files beside the pictures are left aside: ")
