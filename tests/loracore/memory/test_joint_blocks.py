"""The joint blocks of a multimodal transformer: inputs by name, two attentions in some, None from the last."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor

from loracore import Models
from tests.loracore.memory.adapted import equal, gradients_with, models_of

DEPTH = 5


def joint_transformer() -> SD3Transformer2DModel:
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=DEPTH,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        caption_projection_dim=16,
        pooled_projection_dim=10,
        pos_embed_max_size=8,
        dual_attention_layers=(0, 1),
        qk_norm="rms_norm",
    ).eval()


def answer(models: Models) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, context, pooled = (
        torch.randn(*shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 6, 12), (2, 10))
    )
    transformer: Any = models.denoiser
    found: Tensor = transformer(latents, context, pooled, torch.tensor([5, 900]), return_dict=False)[0]
    return found


def trained(**options: Any) -> list[Tensor]:
    transformer = joint_transformer()
    models = models_of(transformer, list(transformer.transformer_blocks))
    return gradients_with(models, lambda: answer(models), **options)


@pytest.fixture(scope="module")
def plain() -> list[Tensor]:
    return trained()


@pytest.mark.parametrize(
    "options",
    [
        *({"blocks_to_swap": count} for count in range(DEPTH - 1)),
        {"blocks_to_swap": 2, "gradient_checkpointing": True},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "cpu_offload_checkpointing": True},
    ],
)
def test_gradients_are_bitwise_the_same(options: dict[str, Any], plain: list[Tensor]) -> None:
    assert equal(trained(**options), plain)


def test_float8_changes_numbers_and_swapping_it_none() -> None:
    stored = trained(fp8_base_unet=True)
    assert equal(trained(fp8_base_unet=True, blocks_to_swap=3, gradient_checkpointing=True), stored)
    assert not equal(stored, trained())
