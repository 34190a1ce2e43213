from __future__ import annotations

import random

import pytest

from loracore.config.dataset_spec import Augmentations
from loracore.data.pictures.face_crop import Face, face_of, frame_face, half_names_face
from loracore.errors import DataError
from loracore.types import Framing

PLAIN = Framing((2000, 1000), (1024, 512), (256, 0), (512, 512))
FACE = Face((700, 400), 100)


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (crops, not secrets)


def framings(face: Face, framing: Framing = PLAIN, *, random_crop: bool = False, times: int = 300) -> list[Framing]:
    """Return framings with faces between a half and a quarter of the shorter side."""
    augmentations = Augmentations(face_crop_aug_range=(2.0, 4.0), random_crop=random_crop)
    return [frame_face(framing, face, augmentations, dice(seed)) for seed in range(times)]


def exactly(lengths: float, framing: Framing = PLAIN, face: Face = FACE) -> Framing:
    """Return the framing whose shorter side is that many face lengths."""
    return frame_face(framing, face, Augmentations(face_crop_aug_range=(lengths, lengths)), dice(0))


@pytest.mark.parametrize(
    ("stem", "face"),
    [
        ("name_700_400_100_80", Face((700, 400), 100)),
        ("a_b_c_1_2_30_40", Face((1, 2), 40)),
        ("_1_2_3_4", Face((1, 2), 4)),
        ("name_5_-3_10_10", Face((5, -3), 10)),
    ],
)
def test_the_last_four_numbers_of_a_name_are_the_face(stem: str, face: Face) -> None:
    assert face_of(stem) == face


@pytest.mark.parametrize("stem", ["name", "", "1_2_3_4", "dog_in_the_park", "my_dog_in_the_park", "a_0_5_9_9"])
def test_names_without_a_face(stem: str) -> None:
    assert face_of(stem) is None
    assert not half_names_face(stem)


@pytest.mark.parametrize("stem", ["trip_2023_05_06_morning", "a_1_2_3_b", "dog_in_the_park_7", "a_1.5_2_3_4"])
def test_half_a_face_is_none(stem: str) -> None:
    assert face_of(stem) is None
    assert half_names_face(stem)


@pytest.mark.parametrize("stem", ["a_1_2_0_0", "a_1_2_-3_-4"])
def test_a_face_without_a_size_is_an_error(stem: str) -> None:
    with pytest.raises(DataError, match="is not the place of a face"):
        face_of(stem)


def test_the_error_names_the_file() -> None:
    with pytest.raises(DataError, match=r"^pics/a_1_2_0_0\.png: '1_2_0_0' at the end"):
        face_of("a_1_2_0_0", where="pics/a_1_2_0_0.png")


def test_the_range_is_the_cut_in_lengths_of_the_face() -> None:
    # 512 pixels at 6.4 faces of 100 pixels: a scale of 0.8; its middle (700, 400) comes to (560, 320)
    assert exactly(6.4) == Framing((2000, 1000), (1600, 800), (560 - 256, 320 - 256), (512, 512))


def test_a_large_range_stops_where_the_picture_still_covers_the_cut() -> None:
    assert exactly(40).resized == (1024, 512)


def test_a_small_range_does_not_enlarge_the_picture() -> None:
    assert exactly(1).resized == (2000, 1000)


def test_a_picture_smaller_than_the_cut_is_enlarged_to_cover_it() -> None:
    small = Framing((300, 200), (768, 512), (128, 0), (512, 512))
    assert exactly(2, small, Face((150, 100), 20)).resized == (768, 512)


@pytest.mark.parametrize("centre", [(1, 1), (1999, 999), (9999, -50)])
def test_the_cut_stays_inside_the_picture(centre: tuple[int, int]) -> None:
    for framing in framings(Face(centre, 120), random_crop=True):
        for start, length, target in zip(framing.crop, framing.resized, framing.size, strict=True):
            assert 0 <= start <= length - target


def test_scales_fill_the_range() -> None:
    # 512 / (200 * 4) = 0.64 to 512 / (200 * 2) = 1.28, which is held at 1
    widths = [framing.resized[0] for framing in framings(Face((1000, 500), 200))]
    assert min(widths) == pytest.approx(0.64 * 2000, abs=10)
    assert max(widths) == pytest.approx(2000, abs=10)


def middles(framed: list[Framing], face: Face) -> list[float]:
    """Return how far the cut's middle is from the face's, in pixels across."""
    places = (face.centre[0] * framing.resized[0] / framing.original[0] for framing in framed)
    return [framing.crop[0] + 256 - place for framing, place in zip(framed, places, strict=True)]


def test_a_face_strays_by_a_twentieth_of_its_size() -> None:
    face = Face((1000, 500), 200)
    off = middles(framings(face), face)
    assert {round(distance) for distance in off} == set(range(-10, 11))


def test_small_faces_stay_in_the_middle() -> None:
    face = Face((1000, 500), 39)
    assert max(abs(distance) for distance in middles(framings(face), face)) <= 1  # two roundings


def test_faces_stray_far_with_random_crop() -> None:
    face = Face((1000, 500), 200)
    off = [abs(distance) for distance in middles(framings(face, random_crop=True), face)]
    assert max(off) > 300
    assert sum(distance < 300 for distance in off) > len(off) / 2  # mostly less


def test_the_seed_decides() -> None:
    assert framings(FACE, times=5) == framings(FACE, times=5)
