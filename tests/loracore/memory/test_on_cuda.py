"""What only a card can show: copies on a stream of their own, page-locked memory, and how much is really in use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from loracore.memory.fitting import fit_models, load_device
from tests.loracore.memory.adapted import equal, gradients_with, memory_config, models_of
from tests.loracore.memory.stack import Stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEPTH = 7
CARD = torch.device("cuda", 0)


def trained(**options: Any) -> list[Tensor]:
    stack = Stack(DEPTH).to(load_device(memory_config(**options), CARD))
    return gradients_with(models_of(stack, list(stack.blocks)), stack.answer, device=CARD, **options)


@pytest.mark.parametrize(
    "options",
    [
        *({"blocks_to_swap": count} for count in range(1, DEPTH - 1)),
        {"gradient_checkpointing": True, "cpu_offload_checkpointing": True},
    ],
)
def test_gradients_are_bitwise_the_same(options: dict[str, Any]) -> None:
    assert equal(trained(**options), trained())


def test_waiting_weights_are_page_locked_and_everything_else_is_on_the_card() -> None:
    stack, config = Stack(DEPTH), memory_config(blocks_to_swap=2)
    models = models_of(stack, list(stack.blocks))
    fit_models(models, CARD, torch.float32, config)
    waiting = [parameter for parameter in stack.parameters() if not parameter.is_cuda]
    assert waiting
    assert all(parameter.is_pinned() for parameter in waiting)
    assert len({block for block in stack.blocks if not next(block.parameters()).is_cuda}) == 4
    assert all(buffer.is_cuda for buffer in stack.buffers())
