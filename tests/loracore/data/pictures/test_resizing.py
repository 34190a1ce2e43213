from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from loracore.data.pictures.resizing import frame
from loracore.types import Framing

SHRUNK = Framing((128, 128), (64, 64), (0, 0), (64, 64))
GROWN = Framing((32, 32), (64, 64), (0, 0), (64, 64))
WIDENED = Framing((64, 128), (65, 64), (0, 0), (65, 64))  # one side grows, one shrinks
HEIGHTENED = Framing((128, 64), (64, 65), (0, 0), (64, 65))


def edge(framing: Framing) -> Image.Image:
    """Return a picture that is dark at the left and bright at the right."""
    width, height = framing.original
    image = Image.new("L", (width, height), 50)
    image.paste(200, (width // 2, 0, width, height))
    return image


def values(framing: Framing, interpolation: str | None) -> set[int]:
    return set(np.unique(np.asarray(frame(edge(framing), framing, interpolation))).tolist())


@pytest.mark.parametrize("interpolation", [None, "area", "box"])
def test_shrinking_averages_areas(interpolation: str | None) -> None:
    checks = Image.fromarray((np.indices((128, 128)).sum(axis=0) % 2 * 254).astype(np.uint8))
    assert np.asarray(frame(checks, SHRUNK, interpolation)).tolist() == [[127] * 64] * 64


@pytest.mark.parametrize("framing", [GROWN, WIDENED, HEIGHTENED])
def test_lanczos_is_chosen_where_a_side_grows(framing: Framing) -> None:
    chosen, lanczos = (frame(edge(framing), framing, name) for name in (None, "lanczos"))
    assert chosen.tobytes() == lanczos.tobytes()
    assert max(values(framing, None)) > 200  # it overshoots at edges


@pytest.mark.parametrize("interpolation", ["nearest", "box"])
def test_nearest_and_box_invent_no_values_when_growing(interpolation: str) -> None:
    assert values(GROWN, interpolation) == {50, 200}


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "linear"])
def test_growing_by_area_or_bilinear_goes_straight_from_dark_to_bright(interpolation: str) -> None:
    # doubled: a quarter and three quarters of the way; rounding may take half a value either way
    assert sorted(values(GROWN, interpolation)) == pytest.approx([50, 87.5, 162.5, 200], abs=0.51)


@pytest.mark.parametrize("interpolation", ["bicubic", "cubic", "lanczos"])
def test_curved_filters_overshoot(interpolation: str) -> None:
    assert min(values(GROWN, interpolation)) < 50
    assert max(values(GROWN, interpolation)) > 200


def test_the_bicubic_curve_is_pillows() -> None:
    # Keys' cubic at a quarter pixel, a = -0.5; the second pixel from the edge takes a(t^3 - 2t^2 + t) of the step
    t = 0.25
    overshoot = 150 * 0.5 * (t**3 - 2 * t**2 + t)
    assert max(values(GROWN, "bicubic")) == pytest.approx(200 + overshoot, abs=0.51)


def test_a_name_that_does_not_exist_is_no_filter() -> None:
    with pytest.raises(KeyError):
        frame(edge(GROWN), GROWN, "sinc")


def test_a_picture_of_the_right_size_keeps_its_pixels() -> None:
    image = Image.effect_noise((64, 64), 50)
    assert frame(image, Framing((64, 64), (64, 64), (0, 0), (64, 64)), "lanczos").tobytes() == image.tobytes()


def test_the_cut_starts_at_the_crop() -> None:
    image = Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20))
    cut = frame(image, Framing((20, 10), (20, 10), (18, 7), (2, 3)), None)
    assert np.asarray(cut).tolist() == [[158, 159], [178, 179], [198, 199]]
