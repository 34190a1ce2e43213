from __future__ import annotations

import colorsys
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loracore.config.dataset_spec import Augmentations, SubsetSpec
from loracore.data.pictures.augmenting import draw_framing, recolour, shift_hue
from loracore.data.pictures.picture import Picture
from loracore.errors import DataError
from loracore.types import Framing

FRAMING = Framing((100, 80), (67, 54), (1, 3), (64, 48))

Photo = Callable[..., Picture]


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (crops, not secrets)


@pytest.fixture
def photo() -> Photo:
    def make(name: str = "a.png", **values: Any) -> Picture:
        subset = SubsetSpec(Path("pics"), 1, "data.toml:5", augmentations=Augmentations(**values))
        return Picture(0, Path("pics") / name, "", FRAMING, 0, subset)

    return make


@pytest.fixture
def colours() -> NDArray[np.float32]:
    """Every fourth shade of red, green and blue, greys among them, as 3,H,W in [0, 1]."""
    shades = np.linspace(0, 1, 5, dtype=np.float32)
    return np.stack(np.meshgrid(shades, shades, shades)).reshape(3, 25, 5)


def through_hsv(image: NDArray[np.float32], turn: float) -> NDArray[np.float64]:
    """Turn the hue of one pixel after another by Python's own colour arithmetic."""
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(3, -1).T.tolist()]
    turned = [colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value) for hue, saturation, value in pixels]
    found: NDArray[np.float64] = np.array(turned).T.reshape(image.shape)
    return found


def test_a_picture_is_cut_as_framed_when_nothing_is_on(photo: Photo) -> None:
    assert draw_framing(photo(), dice(0)) == FRAMING


def test_random_crop_reaches_every_place_equally_often(photo: Photo) -> None:
    rng = dice(1)
    crops = Counter(draw_framing(photo(random_crop=True), rng).crop for _ in range(2800))
    assert set(crops) == {(left, top) for left in range(4) for top in range(7)}
    # 100 expected of each of 28: below the chi-square of 27 degrees at 0.999, 55.5
    assert sum((count - 100) ** 2 / 100 for count in crops.values()) < 55.5


def test_random_crop_changes_the_cut_alone(photo: Photo) -> None:
    framing = draw_framing(photo(random_crop=True), dice(3))
    assert (framing.original, framing.resized, framing.size) == (FRAMING.original, FRAMING.resized, FRAMING.size)


def test_the_cut_is_drawn_left_then_top(photo: Photo) -> None:
    drawn, expected = dice(7), dice(7)
    left, top = expected.randint(0, 3), expected.randint(0, 6)
    assert draw_framing(photo(random_crop=True), drawn).crop == (left, top)
    assert drawn.getstate() == expected.getstate()


def test_a_face_in_the_name_is_cut_around(photo: Photo) -> None:
    picture = photo("a_90_40_30_30.png", face_crop_aug_range=(1.6, 1.6))
    # 48 pixels at 1.6 faces of 30 pixels: not resized; the middle at (90, 40) is too far right for a cut of 64
    assert draw_framing(picture, dice(0)) == Framing((100, 80), (100, 80), (36, 16), (64, 48))


def test_a_face_does_not_count_without_its_option(photo: Photo) -> None:
    assert draw_framing(photo("a_90_40_30_30.png"), dice(0)) == FRAMING


def test_pictures_without_a_face_are_cut_as_the_others(photo: Photo) -> None:
    assert draw_framing(photo("a.png", face_crop_aug_range=(1.0, 2.0)), dice(0)) == FRAMING


def test_a_broken_face_names_the_file(photo: Photo) -> None:
    with pytest.raises(DataError) as caught:
        draw_framing(photo("a_1_2_0_0.png", face_crop_aug_range=(1.0, 2.0)), dice(0))
    assert caught.value.problems[0].where == str(Path("pics") / "a_1_2_0_0.png")


@pytest.mark.parametrize("turn", [-8 / 180, -0.01, 0.0, 0.02, 8 / 180, 0.5])
def test_hue_turns_as_in_the_hexcone(colours: NDArray[np.float32], turn: float) -> None:
    # float32 against Python's double precision
    assert shift_hue(colours, turn) == pytest.approx(through_hsv(colours, turn), abs=2e-6)


def test_a_third_of_the_pictures_change_their_colours(colours: NDArray[np.float32]) -> None:
    rng = dice(5)
    changed = sum(recolour(colours, rng) is not colours for _ in range(2000))
    assert changed == pytest.approx(660, abs=63)  # three standard deviations of 2000 draws at 0.33


def test_hue_and_brightness_change_equally_often(colours: NDArray[np.float32]) -> None:
    rng = dice(6)
    changed = [found for found in (recolour(colours, rng) for _ in range(2000)) if found is not colours]
    hues = sum(np.allclose(found.max(axis=0), colours.max(axis=0), atol=1e-6) for found in changed)
    assert hues / len(changed) == pytest.approx(0.5, abs=0.06)  # three standard deviations of 660 draws


def test_brightness_is_a_gamma_that_keeps_black_and_white(colours: NDArray[np.float32]) -> None:
    rng = dice(8)
    found = (recolour(colours, rng) for _ in range(300))
    changed = [image for image in found if not np.allclose(image.max(axis=0), colours.max(axis=0), atol=1e-6)]
    gammas = [np.log(image[colours == 0.5][0]) / np.log(0.5) for image in changed]
    for image, gamma in zip(changed, gammas, strict=True):
        assert image == pytest.approx(colours.astype(np.float64) ** gamma, abs=1e-5)
    assert min(gammas) == pytest.approx(0.95, abs=0.01)
    assert max(gammas) == pytest.approx(1.05, abs=0.01)


def test_colours_stay_float32_within_0_and_1(colours: NDArray[np.float32]) -> None:
    rng = dice(9)
    for _ in range(50):
        image = recolour(colours, rng)
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1 + 1e-6
