"""The U-Net's blocks, compiled: few graphs for many blocks, and the same gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from loracore import Models
from loracore.speed.compiling import Compiler
from loracore.speed.news import News
from tests.loracore.memory.adapted import adapt, gradients
from tests.plugins.sdxl.runs import DENOISER, loaded
from tests.plugins.sdxl.test_memory import answer, unet_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def compiled(models: Models, news: News) -> Compiler:
    compiler = Compiler("eager", news)
    compiler.take(models.blocks["unet"])
    return compiler


def test_a_compiled_unet_gives_the_gradients_of_a_plain_one() -> None:
    news, found = News(), []
    for compiles in (False, True):
        models = unet_models()
        if compiles:
            compiled(models, news)
        found.append(gradients(adapt(models.blocks["unet"]), lambda models=models: answer(models), steps=1))  # type: ignore[misc]  # mypy cannot infer a default's type
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert news.take() == []


def test_the_seventy_blocks_of_full_size_need_two_graphs_and_the_resnets_one_each_kind() -> None:
    """Sizes alone, on the meta device: 70 transformer blocks and 17 resnets."""
    models, news = loaded(None, DENOISER, device="meta"), News()
    compiler = compiled(models, news)
    assert len(models.blocks["unet"]) == 87
    network = adapt([one for one in models.blocks["unet"] if hasattr(one, "attn1")], device=torch.device("meta"))
    sizes = {"text_embeds": (1, 1280), "time_ids": (1, 6)}
    added = {name: torch.empty(shape, device="meta") for name, shape in sizes.items()}
    latents, context = torch.empty(1, 4, 128, 128, device="meta"), torch.empty(1, 77, 2048, device="meta")
    assert models.denoiser is not None
    output: Tensor = models.denoiser(latents, 500, context, added_cond_kwargs=added, return_dict=False)[0]
    functional.mse_loss(output, torch.empty_like(output)).backward()  # type: ignore[no-untyped-call]  # torch's own
    assert news.take() == []
    (line,) = compiler.summary()
    # Two widths of transformer blocks; of one the first sees inputs that want no gradient yet.
    assert int(line.split()[1]) <= 16, line
    assert all(parameter.grad is not None for parameter in network.modules.parameters())
