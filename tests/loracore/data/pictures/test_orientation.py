from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loracore.data.pictures.image_files import open_picture
from loracore.data.pictures.orientation import turn_of, turned, upright_size

#: Corners of the stored picture are 0, 90, 120, 210; the tag says which of them is seen at the top left (CIPA DC-008).
UPRIGHT = {
    1: [[0, 30, 60, 90], [120, 150, 180, 210]],
    2: [[90, 60, 30, 0], [210, 180, 150, 120]],
    3: [[210, 180, 150, 120], [90, 60, 30, 0]],
    4: [[120, 150, 180, 210], [0, 30, 60, 90]],
    5: [[0, 120], [30, 150], [60, 180], [90, 210]],
    6: [[120, 0], [150, 30], [180, 60], [210, 90]],
    7: [[210, 90], [180, 60], [150, 30], [120, 0]],
    8: [[90, 210], [60, 180], [30, 150], [0, 120]],
}


def save(path: Path, orientation: int) -> None:
    """Write a picture (4 x 2) of eight greys, stored with that EXIF orientation."""
    image = Image.fromarray((np.arange(8, dtype=np.uint8) * 30).reshape(2, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_every_orientation_comes_upright(tmp_path: Path, name: str, orientation: int) -> None:
    save(tmp_path / name, orientation)
    with open_picture(tmp_path / name) as image:
        size, turn = upright_size(image), turn_of(image)
        image.load()
    assert size == ((4, 2) if orientation < 5 else (2, 4))
    assert np.asarray(turned(image, turn)).tolist() == UPRIGHT[orientation]


def test_a_compressed_tiff_is_turned_once(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(8, dtype=np.uint8) * 30).reshape(2, 4))
    image.save(tmp_path / "a.tif", tiffinfo={0x0112: 6}, compression="tiff_lzw")
    with open_picture(tmp_path / "a.tif") as opened:
        size, turn = upright_size(opened), turn_of(opened)
        opened.load()
    assert size == (2, 4)
    assert np.asarray(turned(opened, turn)).tolist() == UPRIGHT[6]


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_sideways_pictures_change_their_sides(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, 8)
    with Image.open(tmp_path / name) as image:
        assert upright_size(image) == (2, 4)


def test_no_exif_data_is_upright(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert turn_of(image) is None


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_is_upright(tmp_path: Path, orientation: int) -> None:
    save(tmp_path / "a.jpg", orientation)
    with Image.open(tmp_path / "a.jpg") as image:
        assert turn_of(image) is None
        assert upright_size(image) == (4, 2)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_broken_exif_data_is_upright(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (4, 2)).save(tmp_path / name, exif=b"Exif\0\0garbage")
    with Image.open(tmp_path / name) as image:
        assert upright_size(image) == (4, 2)
