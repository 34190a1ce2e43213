from __future__ import annotations

from typing import Any

import pytest
import torch
from loracore_sdxl.models import unet_blocks
from torch import Tensor

from loracore import ConfigError, Models
from loracore.memory.fitting import fit_models
from loracore.memory.float8 import FLOAT8
from tests.loracore.memory.adapted import CPU, equal, gradients_with, memory_config, models_of
from tests.plugins.sdxl.tiny import SIZE_WIDTH, WIDTHS, tiny_unet

BLOCKS = 34  # resnets and transformer blocks of the tiny U-Net


def unet_models() -> Models:
    torch.manual_seed(0)
    unet = tiny_unet().eval()
    return models_of(unet, list(unet_blocks(unet)))


def answer(models: Models) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, context, pooled = (
        torch.randn(*shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 7, sum(WIDTHS)), (1, WIDTHS[1]))
    )
    added = {"text_embeds": pooled, "time_ids": torch.full((1, 6), float(SIZE_WIDTH))}
    unet: Any = models.denoiser
    found: Tensor = unet(latents, 500, context, added_cond_kwargs=added, return_dict=False)[0]
    return found


def trained(**options: Any) -> list[Tensor]:
    models = unet_models()
    return gradients_with(models, lambda: answer(models), **options)


@pytest.fixture(scope="module")
def plain() -> list[Tensor]:
    return trained()


@pytest.mark.parametrize(
    "options",
    [
        *({"blocks_to_swap": count} for count in (1, 11, BLOCKS - 2)),
        {"blocks_to_swap": 8, "gradient_checkpointing": True},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "cpu_offload_checkpointing": True},
    ],
)
def test_gradients_are_bitwise_the_same(options: dict[str, Any], plain: list[Tensor]) -> None:
    assert equal(trained(**options), plain)


def test_previews_swap_too() -> None:
    expected, models = answer(unet_models()), unet_models()
    fit_models(models, CPU, torch.float32, memory_config(blocks_to_swap=BLOCKS - 2))
    with torch.no_grad():
        assert torch.equal(answer(models), expected)
        assert torch.equal(answer(models), expected)


def test_the_limit_counts_resnets_and_transformer_blocks() -> None:
    with pytest.raises(ConfigError, match=f"model of {BLOCKS} blocks") as caught:
        fit_models(unet_models(), CPU, torch.float32, memory_config(blocks_to_swap=BLOCKS - 1))
    assert caught.value.problems[0].fix == f"give at most {BLOCKS - 2}"


def test_float8_holds_the_matrices_of_transformer_blocks_and_no_convolution() -> None:
    models = unet_models()
    fit_models(models, CPU, torch.float32, memory_config(fp8_base_unet=True))
    assert models.denoiser is not None
    small = {name for name, tensor in models.denoiser.named_parameters() if tensor.dtype == FLOAT8}
    assert small
    assert all(name.endswith("weight") and "conv" not in name and "norm" not in name for name in small)
    assert torch.isfinite(answer(models)).all()
