from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from loracore.data.pictures.image_files import decode, open_picture, readable_suffixes
from loracore.errors import DataError

#: A package under the name of one that teaches .jxl; its format is two grey pixels behind ``toy!``.
TEACHER = """
from PIL import Image, ImageFile

class Toy(ImageFile.ImageFile):
    format = "JXL"

    def _open(self):
        self._mode, self._size, self.tile = "L", (2, 1), [("raw", (0, 0, 2, 1), 4, ("L", 0, 1))]

Image.register_open("JXL", Toy, lambda prefix: prefix.startswith(b"toy!"))
Image.register_extension("JXL", ".jxl")
"""


def run_taught(tmp_path: Path, script: str) -> str:
    (tmp_path / "pillow_jxl.py").write_text(TEACHER)
    (tmp_path / "a.jxl").write_bytes(b"toy!\x00\xff")
    root = Path(__file__).parents[4]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout


def written_suffixes() -> list[str]:
    formats = Image.registered_extensions()
    return sorted(suffix for suffix in readable_suffixes() if formats.get(suffix) in Image.SAVE)


def read(path: Path) -> tuple[int, int]:
    with open_picture(path) as image:
        decode(image)
        return image.size


def png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of that size, in grey."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"


def test_pictures_are_readable() -> None:
    pictures = ".apng .bmp .dds .gif .ico .jfif .jp2 .jpeg .jpg .mpo .pgm .png .ppm .psd .tga .tif .tiff .webp"
    assert set(pictures.split()) <= readable_suffixes()


def test_what_is_no_picture_or_has_no_decoder_is_not_readable() -> None:
    others = ".bufr .emf .eps .fits .grib .h5 .hdf .iim .im .mpeg .mpg .palm .pdf .ps .wmf"
    assert not readable_suffixes() & set(others.split())


@pytest.mark.parametrize("suffix", written_suffixes())
def test_every_readable_format_that_pillow_writes_is_read_back(tmp_path: Path, suffix: str) -> None:
    sizes = {".ico": (16, 16), ".icns": (1024, 1024)}
    size = sizes.get(suffix, (48, 32))
    mode = {".xbm": "1", ".msp": "1", ".blp": "P"}.get(suffix, "RGB")
    Image.new("RGB", size).convert(mode).save(tmp_path / f"a{suffix}")
    assert read(tmp_path / f"a{suffix}") == size


def test_suffixes_are_in_lower_case() -> None:
    assert all(suffix == suffix.lower() for suffix in readable_suffixes())


def test_an_installed_package_teaches_a_format(tmp_path: Path) -> None:
    script = "from loracore.data.pictures.images import readable_suffixes; print('.jxl' in readable_suffixes())"
    assert run_taught(tmp_path, script) == "True\n"


def test_a_process_that_did_not_scan_learns_a_format_when_it_meets_one(tmp_path: Path) -> None:
    script = "import pathlib, loracore.data.pictures.images as images; print(images.inspect(pathlib.Path('a.jxl')))"
    assert run_taught(tmp_path, script) == "(2, 1)\n"


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png", "GIF")
    assert read(tmp_path / "a.png") == (8, 4)


def test_a_program_in_disguise_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: no picture format that can be read"):
        read(tmp_path / "a.png")


def test_a_missing_file_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.png")
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path / "a.png")
    assert problem.message == "cannot be decoded: No such file or directory"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "jp2"])
def test_large_scans_are_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / f"a.{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 64 x 64 is an error for Image.open
    assert read(tmp_path / f"a.{suffix}") == (64, 64)


def test_a_large_tiff_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (12, 12)).save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(tmp_path / "a.tif") == (12, 12)


def test_a_tiff_beyond_its_readers_limit_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"4096 pixels\) exceeds limit of 200 pixels for this format \(make it smaller"):
        read(tmp_path / "a.tif")


def test_more_than_a_gigapixel_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(40000, 25001))
    with pytest.raises(DataError, match=r"a\.png: is 40000x25001: above a gigapixel \(make it smaller"):
        read(tmp_path / "a.png")


def test_a_gigapixel_is_not_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(40000, 25000))
    with open_picture(tmp_path / "a.png") as image:
        assert image.size == (40000, 25000)


def test_the_file_is_closed_afterwards(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png") as image:
        file = image.fp
    assert file is not None
    assert file.closed
