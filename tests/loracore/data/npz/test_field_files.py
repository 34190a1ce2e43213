from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loracore.data.npz.field_files import (
    FieldLatents,
    Origin,
    WantedLatents,
    crop_box,
    latents_arrays,
    latents_of_other_sizes,
    latents_origin,
    latents_path,
    latents_size,
    read_latents,
    read_text,
    text_arrays,
    text_origin,
    text_path,
)
from loracore.data.npz.npz_files import write_npz
from loracore.types import Framing, LatentsFile, TextFile

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden

PLAIN = LatentsFile("_toy.npz", channels=4, pixels=8, scale=0.13025)
SIZED = LatentsFile("_toy.npz", channels=4, pixels=8, scale=0.13025, sized_keys=True)
FRAMING = Framing((300, 100), (192, 64), (0, 0), (192, 64))
KEY = bytes(range(16))
WANTED = WantedLatents(FRAMING, mirrored=False, masked=False, key=KEY)
TEXT = TextFile("_te.npz", {"h1": {"a": 2}, "h2": {"a": 3, "b": 1}, "p": {"p": 4}}, {"h1": 5, "h2": 5}, {"te1": 5})


def field_arrays(**changes: Any) -> dict[str, Any]:
    """Return the arrays of a file of another tool; None leaves one out."""
    arrays: dict[str, Any] = {
        "latents": np.ones((4, 8, 24), dtype=np.float32),
        "original_size": np.array([300, 100]),
        "crop_ltrb": np.array([0.0, 0.0, 192.0, 64.0]),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def written(tmp_path: Path, **changes: Any) -> Path:
    np.savez(tmp_path / "a.npz", **field_arrays(**changes))
    return tmp_path / "a.npz"


def test_names_have_the_pictures_size_in_four_digits() -> None:
    assert latents_path(SIZED, Path("x/a.b.png"), (300, 12345)) == Path("x/a.b_0300x12345_toy.npz")


def test_latents_are_as_small_as_the_architecture_makes_them() -> None:
    assert [latents_size(replace(PLAIN, pixels=pixels), FRAMING) for pixels in (8, 16)] == [(24, 8), (12, 4)]


def test_captions_have_a_file_for_each_stem() -> None:
    assert text_path(TEXT, Path("x/a.jpg")) == Path("x/a_te.npz")


def test_crop_boxes_are_the_fields(golden: Golden) -> None:
    found = []
    for setting in golden["buckets"]:
        for case in setting["cases"]:
            if "crop_ltrb" in case and min(case["bucket"]) > 0:
                size, bucket = tuple(case["image"]), tuple(case["bucket"])
                box = crop_box(Framing(size, tuple(case["resized"]), (0, 0), bucket))
                found.append(np.abs(box - case["crop_ltrb"]).max())
    assert len(found) > 400
    assert max(found) < 1e-8


def test_left_and_top_are_those_of_the_size_ids(golden: Golden) -> None:
    for case in golden["sdxl_size_ids"]["cases"]:
        box = crop_box(Framing(tuple(case["image"]), tuple(case["bucket"]), (0, 0), tuple(case["bucket"])))
        assert [int(box[1]), int(box[0])] == case["crop_top_left"]


def test_a_file_of_another_tool_that_fits_is_foreign(tmp_path: Path) -> None:
    assert latents_origin(written(tmp_path), PLAIN, WANTED) is Origin.FOREIGN


@pytest.mark.parametrize(
    "changes",
    [
        {"latents": None},
        {"original_size": None},
        {"crop_ltrb": None},
        {"latents": np.ones((4, 24, 8), dtype=np.float32)},
        {"latents": np.ones((16, 8, 24), dtype=np.float32)},
        {"latents": np.array(["?"])},
        {"original_size": np.array([100, 300])},
        {"crop_ltrb": np.array([0.0, 1.0, 192.0, 64.0])},
        {"crop_ltrb": np.full(4, np.nan)},
        {"loracore_key": np.zeros(16, dtype=np.uint8)},
        {"loracore_key": np.zeros(3, dtype=np.uint8)},
    ],
)
def test_a_file_that_says_anything_else_is_of_no_use(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert latents_origin(written(tmp_path, **changes), PLAIN, WANTED) is None


@pytest.mark.parametrize(
    ("wish", "name", "shape"), [("mirrored", "latents_flipped", (4, 8, 24)), ("masked", "alpha_mask", (64, 192))]
)
def test_mirror_images_and_masks_must_be_there_where_they_are_needed(
    tmp_path: Path, wish: str, name: str, shape: tuple[int, ...]
) -> None:
    wanted = replace(WANTED, mirrored=wish == "mirrored", masked=wish == "masked")
    assert latents_origin(written(tmp_path), PLAIN, wanted) is None
    assert latents_origin(written(tmp_path, **{name: np.ones(shape)}), PLAIN, wanted) is Origin.FOREIGN
    assert latents_origin(written(tmp_path, **{name: np.ones(shape[::-1])}), PLAIN, wanted) is None


def test_keys_tell_the_size_where_a_file_holds_several(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{f"{name}_8x24": array for name, array in field_arrays().items()})
    assert latents_origin(path, SIZED, WANTED) is Origin.FOREIGN
    other = Framing((300, 100), (96, 32), (0, 0), (96, 32))
    assert latents_origin(path, SIZED, replace(WANTED, framing=other)) is None


@pytest.mark.parametrize("layout", [PLAIN, SIZED])
def test_what_is_written_is_ours_and_comes_back(tmp_path: Path, layout: LatentsFile) -> None:
    wanted, rng = replace(WANTED, mirrored=True, masked=True), np.random.default_rng(0)
    plain, mirrored = (rng.standard_normal((4, 8, 24), dtype=np.float32) for _ in range(2))
    arrays = latents_arrays(layout, wanted, FieldLatents(plain, mirrored, rng.random((64, 192), dtype=np.float32)))
    assert arrays is not None
    write_npz(tmp_path / "a.npz", arrays)
    assert latents_origin(tmp_path / "a.npz", layout, wanted) is Origin.OURS
    found = read_latents(tmp_path / "a.npz", layout, wanted)
    assert found is not None
    assert np.array_equal(found.plain, plain)
    assert found.mirrored is not None
    assert np.array_equal(found.mirrored, mirrored)


@pytest.mark.parametrize("changes", [{"latents": np.full((4, 8, 24), np.inf)}, {"alpha_mask": np.full((64, 192), 1.5)}])
def test_numbers_that_cannot_be_are_not_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = written(tmp_path, **{"alpha_mask": np.ones((64, 192)), **changes})
    assert read_latents(path, PLAIN, replace(WANTED, masked=True)) is None


def test_a_mask_that_nobody_wants_is_not_read(tmp_path: Path) -> None:
    found = read_latents(written(tmp_path, alpha_mask=np.zeros((64, 192))), PLAIN, WANTED)
    assert found is not None
    assert found.alpha is None


def test_other_sizes_stay_when_a_size_is_written_anew(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", latents_8x24=np.ones(1), latents_18x24=np.ones(2), latents_flipped_8x24=np.ones(3))
    assert list(latents_of_other_sizes(tmp_path / "a.npz", SIZED, [(24, 8)])) == ["latents_18x24"]
    assert latents_of_other_sizes(tmp_path / "a.npz", PLAIN, [(24, 8)]) == {}


def test_latents_of_another_vae_are_not_written() -> None:
    other = FieldLatents(np.ones((16, 8, 24), dtype=np.float32), None, None)
    assert latents_arrays(PLAIN, WANTED, other) is None


def text_file(tmp_path: Path, **changes: Any) -> Path:
    arrays = {"h1": np.ones((5, 2)), "h2": np.full((5, 4), 2.0), "p": np.full(4, 3.0)} | changes
    np.savez(tmp_path / "a_te.npz", **{name: array for name, array in arrays.items() if array is not None})
    return tmp_path / "a_te.npz"


def test_columns_of_several_arrays_become_one_tensor(tmp_path: Path) -> None:
    h2 = np.arange(20.0).reshape(5, 4)
    found = read_text(text_file(tmp_path, h2=h2), TEXT)
    assert found is not None
    assert {name: array.shape for name, array in found.items()} == {"a": (5, 5), "b": (5, 1), "p": (4,)}
    assert np.array_equal(found["a"], np.concatenate([np.ones((5, 2)), h2[:, :3]], axis=1))
    assert np.array_equal(found["b"], h2[:, 3:])


def test_what_is_written_of_a_caption_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {"a": rng.random((5, 5)), "b": rng.random((5, 1)), "p": rng.random(4)}
    arrays = text_arrays(TEXT, tensors, KEY)
    assert arrays is not None
    write_npz(tmp_path / "a_te.npz", arrays)
    assert text_origin(tmp_path / "a_te.npz", TEXT, KEY) is Origin.OURS
    assert text_origin(tmp_path / "a_te.npz", TEXT, KEY[::-1]) is None
    found = read_text(tmp_path / "a_te.npz", TEXT)
    assert found is not None
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(("name", "shape"), [("a", (5, 6)), ("b", (5, 2)), ("p", (3,)), ("p", (5,))])
def test_captions_of_encoders_of_other_sizes_are_not_written(name: str, shape: tuple[int, ...]) -> None:
    tensors = {"a": np.ones((5, 5)), "b": np.ones((5, 1)), "p": np.ones(4)} | {name: np.ones(shape)}
    assert text_arrays(TEXT, tensors, KEY) is None


@pytest.mark.parametrize(
    "changes", [{"h1": None}, {"h1": np.ones((6, 2))}, {"p": np.ones((1, 4))}, {"h2": np.ones((5, 5))}]
)
def test_a_caption_of_another_length_or_width_is_of_no_use(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert text_origin(text_file(tmp_path), TEXT, KEY) is Origin.FOREIGN
    assert text_origin(text_file(tmp_path, **changes), TEXT, KEY) is None


def test_flags_must_be_those_of_the_run(tmp_path: Path) -> None:
    masked = replace(TEXT, flags={"masked": True})
    assert text_origin(text_file(tmp_path), masked, KEY) is None
    assert text_origin(text_file(tmp_path, masked=np.array(0, dtype=np.bool_)), masked, KEY) is None
    assert text_origin(text_file(tmp_path, masked=np.array(1, dtype=np.bool_)), masked, KEY) is Origin.FOREIGN


def test_a_caption_with_a_number_that_cannot_be_is_not_read(tmp_path: Path) -> None:
    assert read_text(text_file(tmp_path, p=np.array([1, 2, 3, np.nan])), TEXT) is None
