from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loracore.noise.offsets import add_offsets, add_pyramid, level_sizes, offset_strengths, split_levels

Golden = dict[str, Any]


@pytest.fixture
def golden(data: Path) -> Golden:
    found: Golden = json.loads((data / "training.json").read_text("utf-8"))
    return found


def added(strengths: Tensor, normal: Tensor) -> Tensor:
    """Return what is added to every channel (B,C) of silence."""
    noise = add_offsets(torch.zeros(2, 2, 2, 2), normal, strengths)
    assert torch.equal(noise, noise[..., :1, :1].expand_as(noise))
    return noise[..., 0, 0]


def test_channels_are_offset_as_in_the_reference(golden: Golden) -> None:
    case = golden["noise_offset"]
    normal, latents = torch.tensor(case["random"])[..., 0, 0], torch.linspace(-1, 1, 16).view(2, 2, 2, 2)
    strengths = torch.tensor([0.1, 0.1])
    torch.testing.assert_close(added(strengths[:, None], normal), torch.tensor(case["offset_0_1"]))
    more = added(offset_strengths(strengths, latents, 0.05), normal)
    torch.testing.assert_close(more, torch.tensor(case["offset_0_1_adaptive_0_05"]))
    none = added(offset_strengths(strengths, latents, -1), normal)
    assert torch.equal(none, torch.tensor(case["offset_0_1_adaptive_minus_1"]))


def test_every_sample_has_its_own_strength() -> None:
    strengths = added(torch.tensor([[0.0], [2.0]]), torch.ones(2, 2))
    assert strengths.tolist() == [[0, 0], [2, 2]]


def test_a_pyramid_is_the_references(golden: Golden) -> None:
    case = golden["multires_noise"]
    ratios = [2 + 2 * number for number in case["python_random"]]
    sizes = level_sizes(8, 8, [*ratios, 2.0, 2.0, 2.0])
    assert [list(size) for size in sizes] == case["level_sizes"]
    levels = [torch.tensor(level)[0] for level in case["level_noise"]]
    result = add_pyramid(torch.tensor(case["noise"])[0], levels, 0.3)
    torch.testing.assert_close(result[None], torch.tensor(case["out"]), rtol=1e-5, atol=1e-6)


def test_a_narrow_picture_has_few_levels() -> None:
    assert level_sizes(8, 64, [2.0] * 10) == [(8, 64), (4, 32), (2, 16), (1, 8)]
    assert level_sizes(64, 64, [4.0] * 3) == [(64, 64), (16, 16), (4, 4)]


def test_a_row_of_numbers_is_split_into_levels() -> None:
    levels = split_levels(torch.arange(10.0), 2, [(2, 2), (1, 1)])
    assert [level.flatten().tolist() for level in levels] == [list(range(8)), [8, 9]]
