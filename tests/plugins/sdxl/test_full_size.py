"""Against a user's own SDXL: LORACORE_SDXL_MODEL=<file or folder> pytest -m weights -s."""
# ruff: noqa: T201  # these tests tell what they found

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from loracore_sdxl import targets, text
from loracore_sdxl.options import findings

from tests.plugins.sdxl.golden_keys import CASES, golden, written
from tests.plugins.sdxl.runs import DENOISER, TEXT, config_of, loaded

pytestmark = [pytest.mark.weights, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def model() -> str:
    if "LORACORE_SDXL_MODEL" not in os.environ:
        pytest.skip("LORACORE_SDXL_MODEL names no SDXL checkpoint or folder")
    return os.environ["LORACORE_SDXL_MODEL"]


def test_options_find_nothing_wrong_with_the_file(model: str) -> None:
    assert list(findings(config_of(model))) == []


def test_every_tensor_has_its_place(model: str) -> None:
    for name, part in loaded(model, device="meta").modules().items():
        values = sum(parameter.numel() for parameter in part.parameters())
        print(f"{name}: {len(part.state_dict())} tensors, {values:,} values")


def test_lora_keys_are_the_golden_ones(model: str, data: Path) -> None:
    every = targets.every(loaded(model, device="meta"), config_of(model))
    print({part: f"{count} modules" for part, count in Counter(target.part for target in every).items()})
    for case, parts, conv in CASES:
        assert written(every, parts, conv=conv) == golden(data, case)


def test_captions_are_encoded_without_overflow(model: str) -> None:
    models = loaded(model, TEXT, dtype=torch.bfloat16)
    with torch.no_grad():
        said = text.encode(models, ["a photo of a cat"], config_of(model))
    print({name: tuple(tensor.shape) for name, tensor in said.tensors.items()})
    assert all(tensor.isfinite().all() for tensor in said.tensors.values())
    assert tuple(said["context"].shape) == (1, 77, 2048)


def test_weights_of_the_unet_are_read(model: str) -> None:
    unet = loaded(model, DENOISER, dtype=torch.bfloat16).denoiser
    assert unet is not None
    assert all(parameter.isfinite().all() for parameter in unet.parameters())
