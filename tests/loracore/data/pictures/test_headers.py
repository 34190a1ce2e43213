from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loracore.data.pictures import headers
from loracore.data.pictures.headers import read_size
from loracore.data.pictures.images import inspect
from loracore.errors import DataError

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'

#: Format and what it is saved with.
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("JPEG", "RGB", {}),
    "progressive jpeg": ("JPEG", "RGB", {"progressive": True}),
    "grey jpeg": ("JPEG", "L", {}),
    "cmyk jpeg": ("JPEG", "CMYK", {}),
    "jpeg with a large profile": ("JPEG", "RGB", {"icc_profile": bytes(200_000)}),
    "jpeg with a comment": ("JPEG", "RGB", {"comment": b"x" * 60_000}),
    "png": ("PNG", "RGB", {}),
    "png with alpha": ("PNG", "RGBA", {}),
    "16-bit png": ("PNG", "I;16", {}),
    "palette png": ("PNG", "P", {}),
    "png with a large profile": ("PNG", "RGB", {"icc_profile": os.urandom(50_000)}),
    "lossy webp": ("WEBP", "RGB", {}),
    "lossless webp": ("WEBP", "RGB", {"lossless": True}),
    "webp with alpha": ("WEBP", "RGBA", {}),
    "webp with a profile": ("WEBP", "RGB", {"icc_profile": bytes(5_001)}),
    "bmp": ("BMP", "RGB", {}),
    "gif": ("GIF", "P", {}),
    "tiff": ("TIFF", "RGB", {}),
}


@pytest.fixture
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an error to ask Pillow."""
    monkeypatch.delattr(headers, "_ask_pillow")


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "a camera"
    found[0x0112] = orientation
    return found


def jpeg(**values: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 32)).save(out, "JPEG", **values)
    return out.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def pillow_size(path: Path) -> tuple[int, int]:
    """Decode as training does."""
    return inspect(path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(64, 32), (1, 1), (301, 517)])
def test_every_format_has_the_size_that_pillow_says(tmp_path: Path, way: str, size: tuple[int, int]) -> None:
    kind, mode, values = WAYS[way]
    path = tmp_path / "a"
    Image.new(mode, size).save(path, kind, **values)
    assert read_size(path) == (size, False)
    assert pillow_size(path) == size


@pytest.mark.parametrize("way", ["jpeg", "progressive jpeg", "jpeg with a large profile", "png", "webp with alpha"])
@pytest.mark.usefixtures("no_pillow")
def test_the_usual_formats_are_read_without_pillow(tmp_path: Path, way: str) -> None:
    kind, mode, values = WAYS[way]
    Image.new(mode, (64, 32)).save(tmp_path / "a", kind, exif=exif(6), **values)
    assert read_size(tmp_path / "a").size == (32, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_seen_as_pillow_sees_it(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "a"
    Image.new("RGB", (64, 32)).save(path, kind, exif=exif(orientation))
    assert read_size(path).size == ((32, 64) if orientation in {5, 6, 7, 8} else (64, 32))
    assert read_size(path).size == pillow_size(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_without_orientation_is_upright(tmp_path: Path, kind: str) -> None:
    found = Image.Exif()
    found[0x010F] = "a camera"
    Image.new("RGB", (64, 32)).save(tmp_path / "a", kind, exif=found)
    assert read_size(tmp_path / "a").size == (64, 32) == pillow_size(tmp_path / "a")


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_exif_are_read(tmp_path: Path, order: str) -> None:
    start = b"II*\0" if order == "<" else b"MM\0*"
    tiff = start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0)
    (tmp_path / "a").write_bytes(jpeg(exif=b"Exif\0\0" + tiff))
    assert read_size(tmp_path / "a").size == (32, 64) == pillow_size(tmp_path / "a")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_xmp_turns_where_exif_does_not(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    Image.new("RGB", (64, 32)).save(path, kind, xmp=XMP)
    assert read_size(path).size == (32, 64) == pillow_size(path)
    Image.new("RGB", (64, 32)).save(path, kind, xmp=XMP, exif=exif(1))
    assert read_size(path).size == (64, 32) == pillow_size(path)


def test_exif_behind_the_size_of_a_jpeg_is_found(tmp_path: Path) -> None:
    plain = jpeg()
    scan = plain.index(b"\xff\xda")
    turned = segment(0xE1, b"Exif\0\0" + exif(6).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a").write_bytes(plain[:scan] + turned + plain[scan:])
    assert read_size(tmp_path / "a").size == (32, 64) == pillow_size(tmp_path / "a")


@pytest.mark.usefixtures("no_pillow")
@pytest.mark.parametrize("length", [*range(4040, 4100), 60_000])
def test_a_jpegs_size_may_lie_anywhere_behind_what_is_read_first(tmp_path: Path, length: int) -> None:
    plain = jpeg(exif=exif(6))
    (tmp_path / "a").write_bytes(plain[:2] + segment(0xEB, bytes(length)) * 2 + plain[2:])
    assert read_size(tmp_path / "a").size == (32, 64)


@pytest.mark.usefixtures("no_pillow")
@pytest.mark.parametrize("length", range(4030, 4070))
def test_a_pngs_pixels_may_lie_anywhere_behind_what_is_read_first(tmp_path: Path, length: int) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a", "PNG", exif=exif(6))
    plain = (tmp_path / "a").read_bytes()
    chunk = struct.pack(">I4s", length, b"prVt") + bytes(length + 4)
    (tmp_path / "a").write_bytes(plain[:33] + chunk + plain[33:])
    assert read_size(tmp_path / "a").size == (32, 64)


def test_exif_behind_a_pngs_pixels_is_left_alone_as_in_training(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a", "PNG", exif=exif(6))
    plain = (tmp_path / "a").read_bytes()
    start = plain.index(b"eXIf") - 4
    end = start + 12 + struct.unpack_from(">I", plain, start)[0]
    (tmp_path / "a").write_bytes(plain[:start] + plain[end:-12] + plain[start:end] + plain[-12:])
    assert read_size(tmp_path / "a").size == (64, 32) == pillow_size(tmp_path / "a")


def test_junk_between_a_jpegs_segments_is_passed_as_pillow_passes_it(tmp_path: Path) -> None:
    plain = jpeg(exif=exif(8))
    second = 4 + struct.unpack_from(">H", plain, 4)[0]
    (tmp_path / "a").write_bytes(plain[:second] + b"junk\xff\xff" + plain[second:])
    assert read_size(tmp_path / "a").size == (32, 64) == pillow_size(tmp_path / "a")


def test_a_jpeg_of_several_pictures_has_the_size_of_the_first(tmp_path: Path) -> None:
    frames = [Image.new("RGB", size) for size in ((64, 32), (16, 16))]
    frames[0].save(tmp_path / "a", "MPO", save_all=True, append_images=frames[1:])
    assert read_size(tmp_path / "a") == ((64, 32), False)


def test_an_interlaced_png_has_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a", "PNG")
    plain = bytearray((tmp_path / "a").read_bytes())
    plain[28] = 1
    plain[29:33] = struct.pack(">I", zlib.crc32(plain[12:29]))
    (tmp_path / "a").write_bytes(plain)
    assert read_size(tmp_path / "a").size == (64, 32)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_frames_beside_the_first_are_told(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (64, 32), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:])
    assert read_size(tmp_path / "a") == ((64, 32), True)


CUT: dict[str, Callable[[bytes], bytes]] = {
    "zero bytes": lambda _: b"",
    "three bytes": lambda whole: whole[:3],
    "twelve bytes": lambda whole: whole[:12],
    "twenty bytes": lambda whole: whole[:20],
}


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_headers_that_are_cut_short_are_errors_with_the_files_name(tmp_path: Path, kind: str, cut: str) -> None:
    path = tmp_path / "broken"
    Image.new("RGB", (64, 32)).save(path, kind)
    path.write_bytes(CUT[cut](path.read_bytes()))
    with pytest.raises(DataError, match=r"broken: cannot be decoded: .+repair, convert or remove it"):
        read_size(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_wherever_a_header_is_cut_short_pillow_agrees(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    Image.new("RGB", (64, 32)).save(path, kind, exif=exif(6))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            size: object = read_size(path).size
        except DataError:
            size = None
        assert size in (None, (32, 64))
        with Image.open(io.BytesIO(whole[:length])) if size else pytest.raises(Exception):  # noqa: PT011
            Image.open(io.BytesIO(whole[:length])).close()


def test_damaged_headers_never_end_otherwise_than_in_a_size_or_a_data_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for kind in ("JPEG", "PNG", "WEBP"):
        Image.new("RGB", (64, 32)).save(path, kind, exif=exif(6))
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(300):
            damaged = whole.copy()
            damaged[rng.integers(0, min(len(whole), 200), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                assert min(read_size(path).size) > 0
            except DataError as error:
                assert error.problems[0].where == str(path)  # noqa: PT017


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture at all", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: no picture format that can be read"):
        read_size(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: cannot be read: No such file"):
        read_size(str(tmp_path / "a.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_upright_as_it_is_decoded(tmp_path: Path, orientation: int) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    assert read_size(tmp_path / "a.tif").size == inspect(tmp_path / "a.tif")


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: the file is empty"):
        read_size(tmp_path / "a.png")
