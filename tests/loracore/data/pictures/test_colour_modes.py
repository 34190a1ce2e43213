from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loracore.data.pictures.colour_modes import alpha_of, check_values, red_of, to_rgb

RED = (255, 0, 0)


def grey(*values: float, dtype: str) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    """Return a picture as it comes back from a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    found = Image.open(file)
    found.load()
    return found


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(colour_type: int, *samples: int, key: tuple[int, ...] = ()) -> Image.Image:
    """Return a PNG of one row with 16 bits a sample, opened; ``key`` is its transparent colour."""
    width = len(samples) // {0: 1, 2: 3}[colour_type]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, colour_type, 0, 0, 0))
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(f">{len(samples)}H", *samples)))
    image = Image.open(BytesIO(b"\x89PNG\r\n\x1a\n" + head + transparent + pixels + chunk(b"IEND", b"")))
    image.load()
    return image


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 200, (200, 200, 200)),
        ("LA", (200, 0), (200, 200, 200)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (255, 0, 0, 0), RED),  # transparent, yet red: alpha is dropped, as the field does
        ("RGBX", (255, 0, 0, 9), RED),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), RED),
        ("LAB", (255, 128, 128), (254, 255, 254)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16B", 32896, (128, 128, 128)),
        ("I", 32896, (128, 128, 128)),
        ("I", -5, (0, 0, 0)),
        ("F", 0.6, (153, 153, 153)),
        ("F", -1.0, (0, 0, 0)),
        ("F", 153.0, (153, 153, 153)),
    ],
)
def test_every_mode_becomes_rgb(mode: str, colour: Any, seen: tuple[int, int, int]) -> None:
    image = to_rgb(Image.new(mode, (2, 1), colour))
    assert image.mode == "RGB"
    assert image.getpixel((1, 0)) == pytest.approx(seen, abs=1 if mode == "LAB" else 0)  # its tables round


def test_sixteen_bits_are_rounded_to_eight() -> None:
    shades = to_rgb(grey(0, 128, 129, 257, 65406, 65407, 65535, dtype="uint16"))
    assert np.asarray(shades)[0, :, 0].tolist() == [0, 0, 1, 1, 254, 255, 255]


def test_a_16_bit_colour_png_keeps_its_high_bytes() -> None:
    assert to_rgb(deep_png(2, 0xFFFF, 0x1234, 0x0080)).getpixel((0, 0)) == (255, 0x12, 0)


def test_a_16_bit_pgm_is_scaled_by_its_own_white() -> None:
    image = Image.open(BytesIO(b"P5 2 1 1000\n" + struct.pack(">2H", 1000, 500)))
    assert np.asarray(to_rgb(image))[0, :, 0] == pytest.approx([255, 127.5], abs=0.5)


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128])])
def test_a_palette_becomes_rgb_with_its_hidden_colours(transparency: int | bytes | None) -> None:
    image = Image.new("RGB", (4, 4), RED).convert("P")
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    assert to_rgb(stored(image, **options)).getpixel((0, 0)) == RED


def test_colour_profiles_are_ignored() -> None:
    image = stored(Image.new("RGB", (2, 2), (10, 20, 30)), icc_profile=b"no profile at all")
    assert to_rgb(image).getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (grey(0, 70000, dtype="int32"), "its grey values reach 70000, where 65535 is taken for white"),
        (grey(0, 300, dtype="float32"), "its grey values reach 300, where 255 is taken for white"),
        (grey(0, np.nan, dtype="float32"), "its grey values are not all finite"),
        (grey(0, np.inf, dtype="float32"), "its grey values are not all finite"),
    ],
)
def test_values_without_a_meaning_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_values(image)
    with pytest.raises(ValueError, match=message):
        to_rgb(image)


def test_a_mode_without_a_way_to_rgb_is_refused() -> None:
    with pytest.raises(ValueError, match="conversion from La to"):
        check_values(Image.new("La", (2, 2)))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_modes_without_transparency_have_no_alpha(mode: str) -> None:
    assert alpha_of(Image.new(mode, (2, 2))) is None


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (9, 9, 9, 77)), ("LA", (9, 77))])
def test_an_alpha_channel_is_the_alpha(mode: str, colour: tuple[int, ...]) -> None:
    alpha = alpha_of(Image.new(mode, (2, 2), colour))
    assert alpha is not None
    assert alpha.mode == "L"
    assert np.asarray(alpha).tolist() == [[77, 77], [77, 77]]


@pytest.mark.parametrize(("transparency", "expected"), [(0, [0, 255]), (bytes([10, 200]), [10, 200])])
def test_a_palettes_transparency_is_the_alpha(transparency: int | bytes, expected: list[int]) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    alpha = alpha_of(stored(image, transparency=transparency))
    assert alpha is not None
    assert np.asarray(alpha).tolist() == [expected]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (stored(grey(9, 200, dtype="uint8"), transparency=9), [0, 255]),
        (stored(Image.frombytes("RGB", (2, 1), bytes([1, 2, 3, 4, 5, 6])), transparency=(1, 2, 3)), [0, 255]),
        (deep_png(0, 65535, 40000, key=(40000,)), [255, 0]),
        (deep_png(2, 65535, 0, 0, 1, 1, 1, key=(65535, 0, 0)), [0, 255]),
    ],
)
def test_a_transparent_colour_is_the_alpha(image: Image.Image, expected: list[int]) -> None:
    alpha = alpha_of(image)
    assert alpha is not None
    assert np.asarray(alpha).tolist() == [expected]


@pytest.mark.parametrize(
    ("mode", "colour", "red"),
    [("L", 77, 77), ("1", 1, 255), ("RGB", (77, 1, 2), 77), ("RGBA", (77, 1, 2, 0), 77), ("I;16", 32896, 128)],
)
def test_the_red_channel_is_a_grey_pictures_own(mode: str, colour: Any, red: int) -> None:
    found = red_of(Image.new(mode, (1, 1), colour))
    assert (found.mode, found.getpixel((0, 0))) == ("L", red)
