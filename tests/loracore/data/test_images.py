from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from loracore.data.images import inspect, load_image, readable_suffixes
from loracore.errors import DataError
from loracore.types import Framing

if TYPE_CHECKING:
    from tests.loracore.data.conftest import MakePicture, Paint

RED = [1.0, -1.0, -1.0]


def corner(image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[float]:
    return [float(value) for value in image[:, 0, 0]]


def half_red(path: Path) -> None:
    """Write a picture (32 x 64) whose top is red and whose bottom is black, stored sideways with EXIF orientation 6."""
    image = Image.new("RGB", (64, 32))
    image.paste((255, 0, 0), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=100, subsampling=0)


def test_pixels_run_from_minus_one_to_one(paint: Paint, picture: MakePicture) -> None:
    image = load_image(picture(paint("a.png", colour=(255, 0, 51))))
    assert image.shape == (3, 64, 64)
    assert image.dtype == np.float32
    assert corner(image) == pytest.approx([1, -1, -0.6], abs=1e-6)


def test_orientation_turns_the_size(tmp_path: Path) -> None:
    half_red(tmp_path / "a.jpg")
    assert inspect(tmp_path / "a.jpg") == (32, 64)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_orientation_turns_the_pixels(tmp_path: Path, picture: MakePicture, name: str) -> None:
    half_red(tmp_path / name)
    image = load_image(picture(tmp_path / name, (32, 64)))
    assert image[:, 2, 16] == pytest.approx(RED, abs=0.05)
    assert image[:, 61, 16] == pytest.approx([-1, -1, -1], abs=0.05)


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("L", 255, [1, 1, 1]),
        ("LA", (255, 0), [1, 1, 1]),
        ("RGBA", (255, 0, 0, 0), RED),  # transparent, yet red: alpha is dropped, as the field does
        ("1", 1, [1, 1, 1]),
        ("I;16", 65535, [1, 1, 1]),
        ("I;16", 32896, [128 / 255 * 2 - 1] * 3),
        ("RGB", (255, 0, 0), RED),
    ],
)
def test_every_mode_becomes_rgb(
    paint: Paint, picture: MakePicture, mode: str, colour: object, seen: list[float]
) -> None:
    image = load_image(picture(paint("a.png", colour=colour, mode=mode)))
    assert corner(image) == pytest.approx(seen, abs=1e-6)


def test_cmyk_becomes_rgb(paint: Paint, picture: MakePicture) -> None:
    path = paint("a.jpg", colour=(0, 255, 255, 0), mode="CMYK")
    assert corner(load_image(picture(path))) == pytest.approx(RED, abs=0.05)


def test_a_palette_with_transparency_becomes_rgb(tmp_path: Path, picture: MakePicture) -> None:
    image = Image.new("RGB", (64, 64), (255, 0, 0)).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert corner(load_image(picture(tmp_path / "a.png"))) == pytest.approx(RED, abs=1e-6)


def test_an_animation_gives_its_first_frame(tmp_path: Path, picture: MakePicture) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert corner(load_image(picture(tmp_path / "a.webp"))) == pytest.approx(RED, abs=1e-6)


def test_shrinking_averages_areas(tmp_path: Path, picture: MakePicture) -> None:
    checks = np.indices((128, 128)).sum(axis=0) % 2 * 254
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "a.png")
    framing = Framing((128, 128), (64, 64), (0, 0), (64, 64))
    image = load_image(picture(tmp_path / "a.png", framing=framing))
    assert image == pytest.approx(127 / 255 * 2 - 1, abs=1e-6)


def test_enlarging_by_lanczos_overshoots_at_edges(tmp_path: Path, picture: MakePicture) -> None:
    framing = Framing((32, 32), (64, 64), (0, 0), (64, 64))
    edge = Image.new("L", (32, 32), 50)
    edge.paste(200, (16, 0, 32, 32))
    edge.save(tmp_path / "a.png")
    assert load_image(picture(tmp_path / "a.png", framing=framing)).max() > 201 / 255 * 2 - 1


def test_a_chosen_interpolation_is_used(tmp_path: Path, picture: MakePicture) -> None:
    framing = Framing((32, 32), (64, 64), (0, 0), (64, 64))
    edge = Image.new("L", (32, 32), 50)
    edge.paste(200, (16, 0, 32, 32))
    edge.save(tmp_path / "a.png")
    image = load_image(picture(tmp_path / "a.png", framing=framing, interpolation="nearest"))
    assert len(np.unique(image)) == 2


def test_the_cut_starts_at_the_crop(tmp_path: Path, picture: MakePicture) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    framing = Framing((100, 64), (100, 64), (18, 0), (64, 64))
    image = load_image(picture(tmp_path / "a.png", framing=framing))
    assert corner(image) == pytest.approx([18 / 255 * 2 - 1] * 3, abs=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_pictures_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a{suffix}: cannot be decoded"):
        inspect(path)


def test_an_intact_picture_with_a_damaged_tail_is_taken(paint: Paint) -> None:
    path = paint("a.png")
    path.write_bytes(path.read_bytes()[:-12])  # without the closing chunk; every pixel is there
    assert inspect(path) == (64, 64)


def test_a_picture_broken_after_the_scan_is_named(tmp_path: Path, picture: MakePicture) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: no picture format"):
        load_image(picture(tmp_path / "a.png"))


def test_a_picture_changed_after_the_scan_is_named(paint: Paint, picture: MakePicture) -> None:
    with pytest.raises(DataError, match="32x32 now; it was 64x64"):
        load_image(picture(paint("a.png", (32, 32))))


def test_the_usual_formats_are_readable() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp"} <= readable_suffixes()
