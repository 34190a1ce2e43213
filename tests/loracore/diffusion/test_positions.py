from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.embeddings import PatchEmbed
from safetensors.torch import load_file
from torch import Tensor

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import SpeedOptions
from loracore.data.buckets import make_buckets
from loracore.diffusion.positions import (
    check_reach,
    check_resolutions,
    crop,
    laid_at,
    own_table,
    random_corners,
    scaled_crop,
    squares,
)
from loracore.errors import DataError
from loracore.noise.rng import SampleRng

SIDES = (8, 12, 20)
CPU = torch.device("cpu")
CORNERS = torch.tensor([[0.0, 0.0], [0.999, 0.3], [-1.0, -1.0]])


@pytest.fixture
def embedder() -> PatchEmbed:
    return PatchEmbed(16, 16, patch_size=2, in_channels=4, embed_dim=16, pos_embed_max_size=10)


def dataset(width: int, height: int, *, buckets: bool, largest: int = 1024, no_upscale: bool = False) -> DatasetSpec:
    return DatasetSpec((width, height), 1, buckets, 64, largest, 16, no_upscale, ())


def whole_table(patches: int, side: int, features: int) -> Tensor:
    """The scaled table (side,side,features) of one resolution, of which it is at least 1.5 times the side."""
    return scaled_crop([patches], (side, side), features, None, CPU).reshape(side, side, features)


def test_scaled_table_is_the_references(data: Path) -> None:
    golden = load_file(data / "forward-sd3.safetensors")["scaled_pos.hidden128.patched8"]
    torch.testing.assert_close(scaled_crop([8], (12, 12), 128, None, CPU), golden, rtol=0, atol=1e-6)


def test_middle_of_a_scaled_table_spans_the_same_at_every_resolution() -> None:
    small, large = whole_table(8, 12, 16), whole_table(16, 24, 16)
    torch.testing.assert_close(small[2:10, 2:10], large[4:20:2, 4:20:2])


@pytest.mark.parametrize(
    ("size", "chosen", "side"),
    [((8, 8), 8, 12), ((8, 13), 8, 13), ((7, 15), 12, 18), ((16, 17), 12, 18), ((16, 18), 20, 30), ((40, 40), 20, 40)],
)
def test_pictures_get_the_table_of_the_resolution_they_are_nearest_to(
    size: tuple[int, int], chosen: int, side: int
) -> None:
    found = scaled_crop(SIDES, size, 16, CORNERS, CPU)
    torch.testing.assert_close(found, crop(whole_table(chosen, side, 16), size, CORNERS), rtol=0, atol=0)


@pytest.mark.parametrize("corners", [None, CORNERS])
def test_scaled_positions_are_made_on_the_device(corners: Tensor | None) -> None:
    device = torch.device("meta")
    found = scaled_crop(SIDES, (8, 13), 16, None if corners is None else corners.to(device), device)
    assert (found.device, found.shape[1:]) == (device, (104, 16))


def test_squares_are_those_of_every_resolution_once() -> None:
    sizes = ((128, 128), (256, 128), (192, 192), (128, 128))
    assert squares([dataset(*size, buckets=True) for size in sizes], 16) == [8, 11, 12]


def test_middle_of_the_files_table_is_what_the_library_takes(embedder: PatchEmbed) -> None:
    for size in ((10, 10), (4, 7), (1, 2)):
        expected = embedder.cropped_pos_embed(size[0] * 2, size[1] * 2)
        assert torch.equal(crop(own_table(embedder), size, None), expected)


def test_corners_lie_where_they_say() -> None:
    table = torch.arange(100.0).reshape(10, 10, 1)
    corners = torch.tensor([[0.0, 0.0], [0.999, 0.0], [0.0, 0.999], [0.5, 0.5], [-1.0, -1.0]])
    first = crop(table, (4, 6), corners)[:, 0, 0]
    assert first.tolist() == [0, 60, 4, 32, 32]
    assert crop(table, (4, 6), corners)[1, -1, 0] == 95


def test_whole_table_has_no_free_room() -> None:
    table = torch.rand(4, 4, 2)
    assert torch.equal(crop(table, (4, 4), torch.tensor([[0.9, 0.3]]))[0], table.flatten(0, 1))


def test_share_of_the_samples_lies_anywhere_and_the_others_in_the_middle() -> None:
    corners = random_corners(0.25, SampleRng(0, "prepare", 0, range(4000)))
    moved = corners[corners[:, 0] >= 0]
    assert len(moved) / 4000 == pytest.approx(0.25, abs=0.03)
    assert (corners[corners[:, 0] < 0] == -1).all()
    assert moved.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert float(moved.max()) < 1


def recording(*, cuda_graphs: bool) -> Config:
    return Config([SpeedOptions(cuda_graphs=cuda_graphs)], {})


def test_given_positions_hold_inside_the_context_only(embedder: PatchEmbed) -> None:
    latents, positions = torch.rand(3, 4, 8, 6), torch.rand(3, 12, 16)
    plain, own = embedder(latents), embedder.cropped_pos_embed(8, 6)
    with laid_at(embedder, positions, recording(cuda_graphs=False)):
        torch.testing.assert_close(embedder(latents), plain - own + positions)
    assert torch.equal(embedder(latents), plain)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_positions_are_kept_in_one_place_where_a_recorded_step_reads_them_again(
    embedder: PatchEmbed, *, cuda_graphs: bool
) -> None:
    places = set()
    several = [torch.rand(3, 12, 16) for _ in range(3)]
    for positions in several:
        with laid_at(embedder, positions, recording(cuda_graphs=cuda_graphs)):
            laid = embedder.cropped_pos_embed(8, 6)
            assert torch.equal(laid, positions)
            places.add(laid.data_ptr())
    assert len(places) == (1 if cuda_graphs else 3)


def test_own_positions_come_back_after_an_error(embedder: PatchEmbed) -> None:
    with pytest.raises(RuntimeError), laid_at(embedder, torch.zeros(1, 1, 7), recording(cuda_graphs=False)):
        embedder(torch.rand(1, 4, 8, 6))
    assert embedder(torch.rand(1, 4, 8, 6)).shape == (1, 12, 16)


def test_picture_beyond_the_files_table_is_told_with_both_sizes(embedder: PatchEmbed) -> None:
    check_reach(embedder, (10, 10), 16)
    with pytest.raises(DataError, match="a picture of 176x160 is too large for this model: its positions reach 160"):
        check_reach(embedder, (10, 11), 16)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (dataset(160, 160, buckets=False), None),
        (dataset(176, 160, buckets=False), "the resolution 176x160 is .* positions reach 160 pixels"),
        (dataset(96, 96, buckets=True, largest=160), None),
        (dataset(128, 128, buckets=True, largest=256), "buckets of up to 256 pixels are .* positions reach 160 pixels"),
        (dataset(512, 512, buckets=True, no_upscale=True), None),  # known by its pictures only
    ],
)
def test_data_set_beyond_the_files_table_is_told_before_training(
    embedder: PatchEmbed, given: DatasetSpec, told: str | None
) -> None:
    datasets = [dataset(96, 96, buckets=False), given]
    if told is None:
        check_resolutions(datasets, embedder, 16)
        return
    with pytest.raises(DataError, match=f"data set 2: {told}") as caught:
        check_resolutions(datasets, embedder.to("meta"), 16)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("resolution", [(96, 96), (128, 112), (256, 64)])
@pytest.mark.parametrize("largest", [64, 160, 208, 1024])
def test_no_bucket_is_larger_than_what_is_told(embedder: PatchEmbed, resolution: tuple[int, int], largest: int) -> None:
    given = dataset(*resolution, buckets=True, largest=largest)
    longest = max(max(size) for size in make_buckets(given).sizes)
    if longest <= 160:
        check_resolutions([given], embedder, 16)
        return
    with pytest.raises(DataError, match=f"buckets of up to {longest} pixels"):
        check_resolutions([given], embedder, 16)
