"""What only a card can show: the card's own kernels, and how much of its memory is in use while weights are stored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loracore.memory.fitting import fit_models, load_device
from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.linear import quantised_layers, stored_tensors
from tests.loracore.memory.adapted import equal, gradients_with, memory_config, models_of
from tests.loracore.memory.stack import Stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CARD = torch.device("cuda", 0)
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


def trained(form: str, **more: Any) -> list[Tensor]:
    options = {"base_model_precision": form, **more}
    stack = Stack(7).eval().to(load_device(memory_config(**options), CARD))
    return gradients_with(models_of(stack, list(stack.blocks)), stack.answer, device=CARD, **options)


@EVERY_FORM
@pytest.mark.parametrize("more", [{"blocks_to_swap": 1}, {"blocks_to_swap": 5}, {"gradient_checkpointing": True}])
def test_gradients_are_bitwise_the_same(form: str, more: dict[str, Any]) -> None:
    assert equal(trained(form, **more), trained(form))


@EVERY_FORM
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_card_reads_the_numbers_that_the_host_reads(form: str, dtype: torch.dtype) -> None:
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = FORMS[form].store(weight)
    on_card = FORMS[form].read([tensor.to(CARD) for tensor in stored], weight.shape, dtype).cpu()
    expected = FORMS[form].read(stored, weight.shape, dtype)
    assert torch.allclose(on_card.float(), expected.float(), rtol=2**-7, atol=0)
    by_card = [tensor.cpu() for tensor in FORMS[form].store(weight.to(CARD))]
    read = FORMS[form].read(by_card, weight.shape, torch.float32)
    # What lies between two codes may fall to either side.
    assert (read - FORMS[form].read(stored, weight.shape, torch.float32)).norm() < 1e-2 * weight.float().norm()


@EVERY_FORM
def test_waiting_weights_are_page_locked_and_all_others_on_the_card(form: str) -> None:
    stack = Stack(7)
    fit_models(
        models_of(stack, list(stack.blocks)),
        CARD,
        torch.float32,
        memory_config(base_model_precision=form, blocks_to_swap=2),
    )
    waiting = [tensor for tensor in stored_tensors(stack) if not tensor.is_cuda]
    assert waiting
    assert all(tensor.is_pinned() for tensor in waiting)
    assert all(tensor.is_cuda for block in (stack.blocks[0], stack.enter) for tensor in stored_tensors(block))


@EVERY_FORM
def test_the_card_never_holds_both_models(form: str) -> None:
    layers = nn.ModuleList(nn.Linear(1024, 1024, bias=False, dtype=torch.bfloat16) for _ in range(32))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit_models(models_of(layers, list(layers)), CARD, torch.bfloat16, memory_config(base_model_precision=form))
    held = sum(tensor.nbytes for _, layer in quantised_layers(layers) for tensor in layer.stored)
    one = 1024 * 1024 * 4  # in float32, of which a few are there at once
    assert torch.cuda.max_memory_allocated() - before < held + 8 * one
