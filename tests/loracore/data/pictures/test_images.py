from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from loracore.config.dataset_spec import Augmentations, SubsetSpec
from loracore.data.pictures.images import Pixels, inspect, load_pixels
from loracore.data.pictures.picture import Picture
from loracore.errors import DataError
from loracore.types import Framing

RED = [1.0, -1.0, -1.0]

#: Make a picture from a file; options of its subset and augmentations by name. Unframed it is taken as it is.
Photo = Callable[..., Picture]


@pytest.fixture
def photo(tmp_path: Path) -> Photo:
    def make(name: str, framing: Framing | None = None, mask: str | None = None, **values: Any) -> Picture:
        path = tmp_path / name
        if framing is None:
            with Image.open(path) as image:
                framing = Framing(image.size, image.size, (0, 0), image.size)
        of_subset = {key: values.pop(key) for key in ("alpha_mask", "resize_interpolation") if key in values}
        subset = SubsetSpec(tmp_path, 1, "data.toml:5", augmentations=Augmentations(**values), **of_subset)
        return Picture(0, path, "", framing, 0, subset, None if mask is None else tmp_path / mask)

    return make


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (crops, not secrets)


def paint_places(path: Path, size: tuple[int, int]) -> None:
    """Write a picture whose colours tell where they stand: x below 8192, y in periods of 2048."""
    across, down = np.meshgrid(np.arange(size[0], dtype=np.uint16), np.arange(size[1], dtype=np.uint16))
    colours = np.stack([across % 256, across // 256 * 8 + down // 256 % 8, down % 256], axis=-1)
    Image.fromarray(colours.astype(np.uint8)).save(path)


def assert_right_places(pixels: Pixels) -> None:
    """Check that each pixel shows the place of its original that its framing names, resized to the nearest."""
    framing = pixels.framing
    colours = np.rint((pixels.image + 1) * 127.5).astype(int)
    assert colours.shape == (3, framing.size[1], framing.size[0])
    if framing.flipped:
        colours = colours[:, :, ::-1]
    across, down = colours[0] + colours[1] // 8 * 256, colours[2] + colours[1] % 8 * 256
    for axis, (seen, period) in enumerate(((across, 8192), (down.T, 2048))):
        places = framing.crop[axis] + np.arange(framing.size[axis]) + 0.5
        off = seen + 0.5 - places * framing.original[axis] / framing.resized[axis]
        # a place between two pixels may be either: Pillow adds up steps and rounds
        assert np.abs((off + period / 2) % period - period / 2).max() <= 0.5 + 1e-6


def corner(picture: Picture) -> list[float]:
    return [float(value) for value in load_pixels(picture).image[:, 0, 0]]


def half_red(path: Path) -> None:
    """Write a picture (32 x 64) whose top is red and whose bottom is black, stored sideways with EXIF orientation 6."""
    image = Image.new("RGB", (64, 32))
    image.paste((255, 0, 0), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=100, subsampling=0)


def test_pixels_run_from_minus_one_to_one(tmp_path: Path, photo: Photo) -> None:
    Image.new("RGB", (64, 48), (255, 0, 51)).save(tmp_path / "a.png")
    pixels = load_pixels(photo("a.png"))
    assert pixels.image.shape == (3, 48, 64)
    assert pixels.image.dtype == np.float32
    assert corner(photo("a.png")) == pytest.approx([1, -1, -0.6], abs=1e-6)


@pytest.mark.parametrize("flipped", [False, True])
def test_arrays_lie_in_memory_as_torch_reads_them(tmp_path: Path, photo: Photo, flipped: bool) -> None:
    Image.new("RGBA", (64, 48)).save(tmp_path / "a.png")
    pixels = load_pixels(photo("a.png", alpha_mask=True), flipped=flipped)
    assert pixels.image.flags.c_contiguous
    assert pixels.mask is not None
    assert pixels.mask.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_turns_the_size(tmp_path: Path, name: str) -> None:
    half_red(tmp_path / name)
    assert inspect(tmp_path / name) == (32, 64)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_turns_the_pixels(tmp_path: Path, photo: Photo, name: str) -> None:
    half_red(tmp_path / name)
    image = load_pixels(photo(name, Framing((32, 64), (32, 64), (0, 0), (32, 64)))).image
    assert image[:, 2, 16] == pytest.approx(RED, abs=0.05)
    assert image[:, 61, 16] == pytest.approx([-1, -1, -1], abs=0.05)


def test_orientation_turns_the_alpha(tmp_path: Path, photo: Photo) -> None:
    image = Image.new("RGBA", (4, 2))
    image.putpixel((3, 0), (0, 0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    picture = photo("a.png", Framing((2, 4), (2, 4), (0, 0), (2, 4)), alpha_mask=True)
    assert load_pixels(picture).mask == pytest.approx(np.array([[[0, 0], [0, 0], [0, 0], [0, 1]]]))


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.png", "LA"), ("a.tif", "CMYK")])
def test_files_of_other_modes_become_rgb(tmp_path: Path, photo: Photo, name: str, mode: str) -> None:
    Image.new("RGB", (4, 4), "white").convert(mode).save(tmp_path / name)
    assert corner(photo(name)) == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, photo: Photo) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert corner(photo("a.jpg")) == pytest.approx(RED, abs=0.05)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled(tmp_path: Path, photo: Photo, name: str) -> None:
    Image.new("I;16", (4, 4), 32896).save(tmp_path / name)
    assert corner(photo(name)) == pytest.approx([128 / 255 * 2 - 1] * 3, abs=1e-6)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, photo: Photo, name: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    assert inspect(tmp_path / name) == (64, 64)
    assert corner(photo(name)) == pytest.approx(RED, abs=1e-6)


def test_colours_under_transparency_do_not_fade_when_resized(tmp_path: Path, photo: Photo) -> None:
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "a.png")
    framing = Framing((64, 64), (32, 32), (0, 0), (32, 32))
    assert corner(photo("a.png", framing, alpha_mask=True)) == pytest.approx(RED, abs=1e-6)


def test_a_chosen_interpolation_is_used(tmp_path: Path, photo: Photo) -> None:
    edge = Image.new("L", (32, 32), 50)
    edge.paste(200, (16, 0, 32, 32))
    edge.save(tmp_path / "a.png")
    framing = Framing((32, 32), (64, 64), (0, 0), (64, 64))
    assert len(np.unique(load_pixels(photo("a.png", framing, resize_interpolation="nearest")).image)) == 2
    assert len(np.unique(load_pixels(photo("a.png", framing)).image)) > 2


@pytest.mark.parametrize(
    ("original", "size", "resized", "crop"),
    [
        ((1920, 1080), (1344, 768), (1365, 768), (10, 0)),
        ((1000, 1500), (832, 1216), (832, 1248), (0, 16)),
        ((4032, 3024), (1152, 896), (1195, 896), (21, 0)),
        ((300, 300), (1024, 1024), (1024, 1024), (0, 0)),
        ((5000, 700), (2048, 320), (2286, 320), (119, 0)),
        ((4032, 3024), (1088, 832), (1109, 832), (10, 0)),
        ((800, 600), (768, 576), (800, 600), (16, 12)),
        ((300, 300), (256, 256), (300, 300), (22, 22)),
    ],
)
def test_the_worked_examples_show_the_right_places(
    tmp_path: Path, photo: Photo, original: Any, size: Any, resized: Any, crop: Any
) -> None:
    paint_places(tmp_path / "a.bmp", original)
    pixels = load_pixels(photo("a.bmp", Framing(original, resized, crop, size), resize_interpolation="nearest"))
    assert pixels.framing == Framing(original, resized, crop, size)
    assert_right_places(pixels)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_random_cut_shows_what_its_framing_says(tmp_path: Path, photo: Photo, flipped: bool) -> None:
    paint_places(tmp_path / "a.bmp", (70, 52))
    picture = photo("a.bmp", Framing((70, 52), (70, 52), (3, 2), (64, 48)), random_crop=True)
    seen = [load_pixels(picture, flipped=flipped, rng=dice(seed)) for seed in range(30)]
    assert len({pixels.framing.crop for pixels in seen}) > 15  # of 35
    for pixels in seen:
        assert_right_places(pixels)


def test_a_cut_around_a_face_shows_what_its_framing_says(tmp_path: Path, photo: Photo) -> None:
    name = "a_150_100_60_50.bmp"
    paint_places(tmp_path / name, (300, 200))
    plain = Framing((300, 200), (96, 64), (16, 0), (64, 64))
    picture = photo(name, plain, face_crop_aug_range=(1.2, 2.0), resize_interpolation="nearest")
    seen = [load_pixels(picture, rng=dice(seed)) for seed in range(10)]
    assert len({pixels.framing.resized for pixels in seen}) > 5
    for pixels in seen:
        assert_right_places(pixels)


def test_without_a_generator_nothing_is_random(tmp_path: Path, photo: Photo) -> None:
    paint_places(tmp_path / "a_30_30_20_20.bmp", (70, 52))
    framing = Framing((70, 52), (70, 52), (3, 2), (64, 48))
    augmented = photo("a_30_30_20_20.bmp", framing, random_crop=True, color_aug=True, face_crop_aug_range=(1.0, 2.0))
    pixels = load_pixels(augmented)
    assert pixels.framing == framing
    assert_right_places(pixels)


def test_augmentations_that_are_off_draw_nothing(tmp_path: Path, photo: Photo) -> None:
    paint_places(tmp_path / "a.bmp", (64, 48))
    rng = dice(3)
    load_pixels(photo("a.bmp"), flipped=True, rng=rng)
    assert rng.getstate() == dice(3).getstate()


def test_the_same_seed_gives_the_same_pixels(tmp_path: Path, photo: Photo) -> None:
    paint_places(tmp_path / "a.bmp", (70, 52))
    framing = Framing((70, 52), (70, 52), (3, 2), (64, 48))
    picture = photo("a.bmp", framing, random_crop=True, color_aug=True)
    first, second = ([load_pixels(picture, rng=dice(seed)).image for seed in range(9)] for _ in range(2))
    assert np.array_equal(first, second)


def test_colours_change_after_the_cut_is_drawn(tmp_path: Path, photo: Photo) -> None:
    paint_places(tmp_path / "a.bmp", (70, 52))
    framing = Framing((70, 52), (70, 52), (3, 2), (64, 48))
    plain = [load_pixels(photo("a.bmp", framing, random_crop=True), rng=dice(seed)) for seed in range(30)]
    coloured = [
        load_pixels(photo("a.bmp", framing, random_crop=True, color_aug=True), rng=dice(seed)) for seed in range(30)
    ]
    assert [pixels.framing for pixels in plain] == [pixels.framing for pixels in coloured]
    changed = [not np.array_equal(one.image, other.image) for one, other in zip(plain, coloured, strict=True)]
    assert any(changed)
    assert not all(changed)


@pytest.mark.parametrize("flipped", [False, True])
def test_masks_lie_on_their_pictures(tmp_path: Path, photo: Photo, flipped: bool) -> None:
    # a wide picture in a tall cut: a mask that was stretched would be elsewhere
    disc = Image.new("L", (160, 80))
    disc.paste(255, (70, 10, 90, 50))
    Image.merge("RGBA", (disc, disc, disc, disc)).save(tmp_path / "a.png")
    disc.save(tmp_path / "mask.png")
    framing = Framing((160, 80), (128, 64), (40, 0), (48, 64))
    for masks in ({"mask": "mask.png"}, {"alpha_mask": True}):
        pixels = load_pixels(photo("a.png", framing, **masks), flipped=flipped)
        assert pixels.mask == pytest.approx((pixels.image[:1] + 1) / 2, abs=1e-6)


def test_the_mask_follows_a_random_cut(tmp_path: Path, photo: Photo) -> None:
    noise = Image.effect_noise((70, 52), 80)
    Image.merge("RGB", (noise, noise, noise)).save(tmp_path / "a.png")
    noise.save(tmp_path / "mask.png")
    picture = photo("a.png", Framing((70, 52), (70, 52), (3, 2), (64, 48)), "mask.png", random_crop=True)
    pixels = load_pixels(picture, flipped=True, rng=dice(1))
    assert pixels.framing.crop != (3, 2)
    assert pixels.mask == pytest.approx((pixels.image[:1] + 1) / 2, abs=1e-6)


def test_pictures_without_masks_have_none(tmp_path: Path, photo: Photo) -> None:
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png")
    assert load_pixels(photo("a.png")).mask is None


def test_flipping_mirrors_pixels_and_keeps_the_crop(tmp_path: Path, photo: Photo) -> None:
    paint_places(tmp_path / "a.png", (70, 52))
    framing = Framing((70, 52), (70, 52), (1, 2), (64, 48))
    pixels = load_pixels(photo("a.png", framing), flipped=True)
    with Image.open(tmp_path / "a.png") as image:
        mirrored = np.asarray(ImageOps.mirror(image.crop((1, 2, 65, 50))), dtype=np.float32)
    assert np.array_equal(pixels.image, (mirrored / 255 * 2 - 1).transpose(2, 0, 1))
    assert (pixels.framing.crop, pixels.framing.flipped) == ((1, 2), True)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif"])
def test_truncated_pictures_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a{suffix}: cannot be decoded"):
        inspect(path)


def test_values_beyond_16_bits_are_found_by_the_check(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: cannot be decoded: its grey values reach 70000"):
        inspect(tmp_path / "a.tif")


def test_an_intact_picture_with_a_damaged_tail_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(path)
    path.write_bytes(path.read_bytes()[:-12])  # without the closing chunk; every pixel is there
    assert inspect(path) == (64, 48)


def test_a_picture_broken_after_the_scan_is_named(tmp_path: Path, photo: Photo) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: no picture format"):
        load_pixels(photo("a.png", Framing((8, 8), (8, 8), (0, 0), (8, 8))))


def test_a_picture_changed_after_the_scan_is_named(tmp_path: Path, photo: Photo) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="32x32 now; it was 64x64"):
        load_pixels(photo("a.png", Framing((64, 64), (64, 64), (0, 0), (64, 64))))


@pytest.mark.parametrize("content", [b"no zlib stream", zlib.compress(bytes(100))])
def test_a_png_whose_checksums_fit_may_hold_no_pixels(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        inspect(path)
