"""Blocks whose queries and keys are normed: forgotten, swapped or compiled, they give the gradients of plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from loracore import Models
from loracore.diffusion.attention.grouping import group_attention
from loracore.speed.compiling import Compiler
from loracore.speed.news import News
from tests.loracore.memory.adapted import adapt, equal, gradients, gradients_with, models_of
from tests.plugins.sd3 import tiny


def normed_models(*, grouped: bool = True) -> Models:
    torch.manual_seed(0)
    transformer: Any = tiny.tiny_transformer("5-medium").eval()
    norms = [one for name, one in transformer.named_parameters() if ".attn" in name and ".norm_" in name]
    assert norms
    for weight in norms:
        torch.nn.init.normal_(weight, mean=1)
    if grouped:
        group_attention(transformer)
    return models_of(transformer, list(transformer.transformer_blocks))


def answer(models: Models) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 16, 8, 8), (2, 7, tiny.CONTEXT), (2, sum(tiny.WIDTHS)))
    latents, context, pooled = (torch.randn(*shape, generator=generator) for shape in shapes)
    transformer: Any = models.denoiser
    found: Tensor = transformer(latents, context, pooled, torch.tensor([3.0, 500.0]), return_dict=False)[0]
    return found


def trained(models: Models, **options: Any) -> list[Tensor]:
    return gradients_with(models, lambda: answer(models), **options)


def test_gradients_are_those_of_diffusers_own_attention() -> None:
    # Sums in another order: 2e-9 of gradients up to 7e-3.
    assert_close(trained(normed_models()), trained(normed_models(grouped=False)), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("options", [{"blocks_to_swap": 1}, {"gradient_checkpointing": True}])
def test_gradients_of_blocks_that_forget_are_bitwise_the_same(options: dict[str, Any]) -> None:
    assert equal(trained(normed_models(), **options), trained(normed_models()))


@pytest.mark.slow
def test_compiled_blocks_give_the_same_gradients() -> None:
    news, found = News(), []
    for compiles in (False, True):
        models = normed_models()
        if compiles:
            Compiler("eager", news).take(models.blocks["unet"])
        found.append(gradients(adapt(models.blocks["unet"]), lambda models=models: answer(models), steps=1))  # type: ignore[misc]  # mypy cannot infer a default's type
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert news.take() == []
