from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loracore.defaults.findings.checks import check_options
from loracore.errors import DataError
from loracore.types import FieldFiles
from tests.loracore.training.beside import PLAIN, SIZED, TEXT, Beside, set_time

SIZED_FILES = FieldFiles(SIZED, TEXT)


@pytest.fixture
def beside(toy_config: Path) -> Beside:
    return Beside.of(toy_config)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def datasets(toy_config: Path, tmp_path: Path, pictures: Path, *resolutions: int) -> tuple[Path, str, str]:
    """Return a configuration of the same pictures at several resolutions."""
    tables = [
        f"[[datasets]]\nresolution = {side}\n[[datasets.subsets]]\nimage_dir = '{pictures}'\n" for side in resolutions
    ]
    (tmp_path / "data.toml").write_text("\n".join(tables), "utf-8")
    text = toy_config.read_text("utf-8").splitlines()
    toy_config.write_text("\n".join(line for line in text if not line.startswith("train_data_dir")), "utf-8")
    return toy_config, "--dataset_config", str(tmp_path / "data.toml")


def test_every_picture_gets_its_file_as_the_field_writes_it(beside: Beside) -> None:
    assert beside.export_latents() == ("6 .npz files of latents were written beside the pictures",)
    found = arrays(beside.place("1.png"))
    assert {name: (array.dtype.str, array.shape) for name, array in found.items()} == {
        "latents": ("<f4", (3, 8, 8)),
        "original_size": ("<i8", (2,)),
        "crop_ltrb": ("<f8", (4,)),
        "loracore_key": ("|u1", (16,)),
    }
    assert found["original_size"].tolist() == [64, 64]


def test_latents_are_a_draw_on_the_vaes_own_scale(beside: Beside) -> None:
    beside.export_latents()
    entry = beside.latents("1.png")
    assert entry is not None
    scaled = (torch.from_numpy(arrays(beside.place("1.png"))["latents"]) - 0.25) * 0.5
    noise = (scaled - entry["mean"]) / (0.5 * entry["log_variance"]).exp()
    assert abs(float(noise.mean())) < 0.3  # of 192 values
    assert 0.8 < float(noise.std()) < 1.2


def test_the_same_picture_is_written_alike_every_time(beside: Beside) -> None:
    beside.export_latents()
    first = beside.place("1.png").read_bytes()
    beside.place("1.png").unlink()
    assert beside.export_latents()[0].startswith("1 .npz files")
    assert beside.place("1.png").read_bytes() == first


def test_what_is_valid_is_not_written_again(beside: Beside) -> None:
    path = beside.write("1.png")
    before = path.read_bytes()
    beside.export_latents()
    assert path.read_bytes() == before
    assert beside.export_latents() == ()


def test_what_was_written_is_read_by_the_next_run(toy_config: Path) -> None:
    Beside.of(toy_config, "--flip_aug").export_latents()
    fresh = Beside.of(toy_config, "--flip_aug")
    assert fresh.import_latents() == (
        "12 latents were read from .npz files beside the pictures, as loracore wrote them",
    )
    assert fresh.keys.missing(fresh.store) == []


def test_stale_and_damaged_files_are_replaced(beside: Beside) -> None:
    set_time(beside.write("1.png"), 1000)
    beside.place("3.png").write_bytes(b"PK")
    beside.export_latents()
    for name in ("1.png", "3.png"):
        assert "loracore_key" in arrays(beside.place(name))


def test_another_tools_latents_are_never_written_as_our_own(beside: Beside, toy_config: Path, pictures: Path) -> None:
    path = beside.write("1.png")
    beside.import_latents()
    before = path.read_bytes()
    set_time(pictures / "1.png", 2**32)  # the file seems to be of an older picture now, whose content is the same
    later = replace(Beside.of(toy_config), store=beside.store)
    assert ".npz files of latents are not written: this run has not encoded them" in later.export_latents()[-1]
    assert path.read_bytes() == before


def test_another_tools_captions_are_never_written_as_our_own(toy_config: Path, pictures: Path) -> None:
    (pictures / "3.txt").write_text("picture number 1", "utf-8")
    beside = Beside.of(toy_config)
    np.savez(pictures / "1_toy_te.npz", first=np.ones(3, dtype=np.float32), second=np.ones(5, dtype=np.float32))
    beside.import_texts()
    assert "1 .npz files of captions are not written: this run has not encoded them" in beside.export_texts()
    assert not (pictures / "3_toy_te.npz").exists()


def test_what_a_killed_run_left_is_removed(beside: Beside, pictures: Path) -> None:
    left = pictures / ".1_0064x0064_toy.npz.12.part"
    left.touch()
    set_time(left, 1000)
    beside.export_latents()
    assert not left.exists()


def test_alpha_is_written_at_the_pictures_size(toy_config: Path, pictures: Path) -> None:
    image = Image.new("RGBA", (64, 64), (10, 20, 30, 255))
    image.paste((10, 20, 30, 0), (0, 0, 64, 32))
    image.save(pictures / "1.png")
    beside = Beside.of(toy_config, "--alpha_mask", "--masked_loss")
    beside.export_latents()
    alpha = arrays(beside.place("1.png"))["alpha_mask"]
    assert alpha.shape == (64, 64)
    assert alpha.dtype == np.float32
    assert (alpha[:32].max(), alpha[32:].min()) == (0, 1)


def test_a_file_with_sized_keys_holds_every_resolution(toy_config: Path, tmp_path: Path, pictures: Path) -> None:
    config = datasets(toy_config, tmp_path, pictures, 64, 32)
    beside = Beside.of(*config, layout=SIZED_FILES)
    beside.export_latents()
    assert {"latents_8x8", "latents_4x4", "crop_ltrb_4x4"} <= set(arrays(beside.place("1.png")))
    assert beside.export_latents() == ()


def test_other_sizes_stay_unless_the_picture_has_changed_since(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=SIZED_FILES)
    for name, second in (("1.png", None), ("3.png", 1000)):
        np.savez(beside.place(name), latents_16x16=np.ones((3, 16, 16), dtype=np.float32))
        if second is not None:
            set_time(beside.place(name), second)
    beside.export_latents()
    found = [set(arrays(beside.place(name))) for name in ("1.png", "3.png")]
    assert ["latents_16x16" in names for names in found] == [True, False]
    assert all("latents_8x8" in names for names in found)


def test_the_last_data_set_has_a_file_that_knows_no_sizes(toy_config: Path, tmp_path: Path, pictures: Path) -> None:
    beside = Beside.of(*datasets(toy_config, tmp_path, pictures, 64, 32))
    notes = beside.export_latents()
    assert notes[0] == "6 pictures are in several data sets, but have one .npz file: the last data set's"
    assert arrays(beside.place("1.png"))["latents"].shape == (3, 4, 4)


def test_the_second_picture_of_a_name_gets_no_file(toy_config: Path, pictures: Path) -> None:
    Image.new("RGB", (64, 64)).save(pictures / "1.jpg")
    beside = Beside.of(toy_config)
    notes = beside.export_latents()
    assert notes[0].startswith("1 pictures get no .npz file, because a picture of the same name and size has it: ")
    found = arrays(beside.place("1.png"))["loracore_key"].tobytes()
    assert found == beside.keys.plain[beside.row("1.jpg")].tobytes()  # the first by name


def test_turned_pictures_get_no_file(toy_config: Path, pictures: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 64)).save(pictures / "turned.jpg", exif=exif)
    beside = Beside.of(toy_config)
    assert beside.export_latents()[-1].startswith("1 pictures get no .npz files of latents: EXIF data turns them")
    assert not beside.place("turned.jpg").exists()


def test_pictures_with_masks_of_a_folder_get_no_file(toy_config: Path, pictures: Path) -> None:
    beside = Beside.of(toy_config, "--masked_loss", "--conditioning_data_dir", str(pictures))
    (note,) = beside.export_latents()
    assert note.startswith("6 pictures with masks of conditioning_data_dir get no .npz files")


def test_an_architecture_without_such_files_says_so(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=None)
    assert "there are none for this architecture" in beside.export_latents()[0]
    assert "there are none for this architecture" in beside.export_texts()[0]


def test_latents_of_another_vae_are_said_and_not_written(toy_config: Path) -> None:
    beside = Beside.of(toy_config, layout=FieldFiles(replace(PLAIN, channels=4), TEXT))
    (note,) = beside.export_latents()
    assert note.startswith("6 .npz files of latents are not written: the model's encoders are of other sizes")


def test_a_file_that_cannot_be_written_names_its_folder(beside: Beside, pictures: Path) -> None:
    beside.place("1.png").mkdir()
    with pytest.raises(DataError, match="cannot be written") as caught:
        beside.export_latents()
    assert caught.value.problems[0].where == str(pictures)


def test_captions_are_written_and_read_by_the_next_run(toy_config: Path, pictures: Path) -> None:
    first = Beside.of(toy_config)
    assert first.export_texts() == ("6 .npz files of captions were written beside the pictures",)
    assert first.export_texts() == ()
    assert arrays(pictures / "1_toy_te.npz")["second"].shape == (5,)
    second = Beside.of(toy_config)
    assert second.import_texts()[0].startswith("6 captions were read")
    one, other = first.text("picture number 1"), second.text("picture number 1")
    assert one is not None
    assert other is not None
    assert torch.equal(one["pooled"], other["pooled"])


def test_bfloat16_is_written_as_float32(beside: Beside, pictures: Path) -> None:
    half = replace(beside, loading=replace(beside.loading, dtype=torch.bfloat16))
    half.export_texts()
    assert arrays(pictures / "1_toy_te.npz")["first"].dtype == np.float32


def test_captions_that_rules_change_are_counted(toy_config: Path, pictures: Path) -> None:
    beside = Beside.of(toy_config, "--caption_prefix", "photo of")
    (note,) = beside.export_texts()
    assert note == "6 captions get no .npz file: rules of captions change what is encoded of them"
    assert not list(pictures.glob("*.npz"))


@pytest.mark.parametrize(
    ("flags", "idle"),
    [
        (["--cache_format", "npz"], True),
        (["--cache_format", "npz", "--cache_latents_to_disk"], False),
        (["--cache_format", "npz", "--cache_text_encoder_outputs_to_disk"], False),
        ([], False),
    ],
)
def test_npz_files_are_written_only_of_what_is_kept_on_disk(toy_config: Path, flags: list[str], idle: bool) -> None:
    config = Beside.of(toy_config, *flags).loading.config
    assert ("cache_format" in {finding.option for finding in check_options(config)}) is idle


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"writable": False}, "hold more than is cached"),
        ({"encoders": {"te1": 8, "te2": 8}}, "what all text encoders say"),
        ({"columns": {"first": {"pooled": 9}}}, "of other sizes"),
    ],
)
def test_why_no_captions_are_written_is_said(
    toy_config: Path, pictures: Path, changes: dict[str, object], reason: str
) -> None:
    beside = Beside.of(toy_config, layout=FieldFiles(PLAIN, replace(TEXT, **changes)))  # type: ignore[arg-type]  # cases give the right types
    assert reason in beside.export_texts()[0]
    assert not list(pictures.glob("*.npz"))
