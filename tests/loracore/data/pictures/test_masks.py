from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loracore.config.dataset_spec import SubsetSpec
from loracore.data.pictures.masks import mask_of
from loracore.data.pictures.picture import Picture
from loracore.errors import DataError
from loracore.types import Framing

WHOLE = Framing((8, 4), (8, 4), (0, 0), (8, 4))
SHRUNK = Framing((16, 8), (8, 4), (2, 0), (4, 4))  # a wide picture that covers a square cut
GROWN = Framing((4, 2), (8, 4), (2, 0), (4, 4))

#: Return a mask's values (H,W) for a picture with that framing.
Masked = Callable[..., NDArray[np.float32]]


@pytest.fixture
def masked(tmp_path: Path) -> Masked:
    def weigh(
        framing: Framing,
        *,
        painted: Image.Image | None = None,
        alpha: Image.Image | None = None,
        alpha_mask: bool = False,
    ) -> NDArray[np.float32]:
        path = tmp_path / "mask.png"
        if painted is not None:
            painted.save(path, exif=painted.getexif())
        subset = SubsetSpec(tmp_path, 1, "data.toml:5", alpha_mask=alpha_mask)
        picture = Picture(0, tmp_path / "a.png", "", framing, 0, subset, None if painted is None else path)
        mask = mask_of(picture, alpha, framing)
        assert mask is not None
        values: NDArray[np.float32] = mask[0]
        return values

    return weigh


def grey(rows: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8))


def right_half(size: tuple[int, int]) -> Image.Image:
    image = Image.new("L", size)
    image.paste(255, (size[0] // 2, 0, *size))
    return image


def test_a_subset_without_masks_has_none(tmp_path: Path) -> None:
    picture = Picture(0, tmp_path / "a.png", "", WHOLE, 0, SubsetSpec(tmp_path, 1, "data.toml:5"))
    assert mask_of(picture, None, WHOLE) is None


def test_an_opaque_picture_counts_as_a_whole(masked: Masked) -> None:
    assert masked(SHRUNK, alpha_mask=True).tolist() == [[1] * 4] * 4


def test_the_alpha_is_the_mask(masked: Masked) -> None:
    mask = masked(WHOLE, alpha=Image.new("L", (8, 4), 51), alpha_mask=True)
    assert mask.dtype == np.float32
    assert mask == pytest.approx(0.2, abs=1e-7)


def test_a_painted_mask_is_its_red_channel(masked: Masked) -> None:
    assert masked(WHOLE, painted=Image.new("RGB", (8, 4), (51, 255, 0))) == pytest.approx(0.2, abs=1e-7)


def test_a_grey_mask_is_its_grey(masked: Masked) -> None:
    assert masked(WHOLE, painted=Image.new("L", (8, 4), 51)) == pytest.approx(0.2, abs=1e-7)


def test_alpha_and_painted_mask_are_multiplied(masked: Masked) -> None:
    half, fifth = Image.new("L", (8, 4), 102), Image.new("L", (8, 4), 51)
    assert masked(WHOLE, painted=half, alpha=fifth, alpha_mask=True) == pytest.approx(0.08, abs=1e-7)


def test_a_painted_mask_alone_counts_for_an_opaque_picture(masked: Masked) -> None:
    mask = masked(WHOLE, painted=Image.new("L", (8, 4), 51), alpha_mask=True)
    assert mask == pytest.approx(0.2, abs=1e-7)


@pytest.mark.parametrize("framing", [SHRUNK, GROWN])
@pytest.mark.parametrize("source", ["painted", "alpha"])
def test_a_mask_is_resized_and_cut_not_stretched(masked: Masked, framing: Framing, source: str) -> None:
    mask = masked(framing, **{source: right_half(framing.original)}, alpha_mask=source == "alpha")
    assert mask.shape == (4, 4)
    assert np.array_equal(mask.round(), [[0, 0, 1, 1]] * 4)


def test_a_shrinking_mask_is_averaged(masked: Masked) -> None:
    framing = Framing((4, 2), (2, 1), (0, 0), (2, 1))
    mask = masked(framing, painted=grey([[0, 255, 40, 40], [255, 0, 40, 60]]))
    assert mask == pytest.approx(np.array([[127.5, 45]]) / 255, abs=0.51 / 255)


def test_a_growing_mask_stays_between_0_and_1(masked: Masked) -> None:
    framing = Framing((4, 2), (8, 4), (0, 0), (8, 4))
    mask = masked(framing, painted=right_half((4, 2)))
    assert mask[0] == pytest.approx([0, 0, 0, 0.25, 0.75, 1, 1, 1], abs=0.51 / 255)


def test_a_mask_is_turned_upright(masked: Masked) -> None:
    stored = right_half((8, 4))
    stored.getexif()[0x0112] = 3  # upside down
    assert np.array_equal(masked(WHOLE, painted=stored), [[1] * 4 + [0] * 4] * 4)


def test_a_mask_of_another_size_is_an_error(masked: Masked) -> None:
    with pytest.raises(DataError, match=r"mask\.png: the mask is 4x8, but its picture .*a\.png is 8x4 \(give the mask"):
        masked(WHOLE, painted=Image.new("L", (4, 8)))


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("no picture")
    picture = Picture(0, tmp_path / "a.png", "", WHOLE, 0, SubsetSpec(tmp_path, 1, "data.toml:5"), path)
    with pytest.raises(DataError, match=r"mask\.png: cannot be decoded"):
        mask_of(picture, None, WHOLE)
