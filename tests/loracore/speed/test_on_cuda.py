"""What only a card can show: recordings that replay kernels, and kernels of attention that are chosen."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend
from torch.testing import assert_close

from loracore.errors import LoracoreError
from loracore.speed.attention import Attention
from loracore.speed.cuda_recording import CudaRecorder
from loracore.speed.graphs import GraphedModule
from loracore.speed.news import News
from tests.loracore.memory.adapted import adapt, models_of
from tests.loracore.memory.stack import WIDTH, Stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CARD = torch.device("cuda", 0)
#: Batch and tokens of each pass: shapes come back, and new ones come in between.
PASSES = ((2, 5), (2, 5), (1, 7), (2, 5), (1, 7), (3, 4))


def trained(*, recorded: bool, news: News) -> tuple[list[float], list[Tensor]]:
    """Return the loss of each step, and the adapters after all of them: two passes a step, which add up."""
    stack = Stack(4).eval().to(CARD)
    network = adapt(models_of(stack, list(stack.blocks)).blocks["unet"], device=CARD)
    parameters = list(network.modules.parameters())
    if recorded:
        recorder = CudaRecorder(CARD)
        stack.forward = GraphedModule(stack.forward, parameters, recorder, news, lambda: 1.0, nullcontext)  # type: ignore[method-assign]
    optimizer, losses = torch.optim.SGD(parameters, lr=0.1), []
    for step in range(0, len(PASSES), 2):
        for place, (batch, tokens) in enumerate(PASSES[step : step + 2]):
            generator = torch.Generator().manual_seed(step + place)
            inputs = torch.randn(batch, tokens, WIDTH, generator=generator).to(CARD)
            loss = stack(inputs).square().mean()
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses, [one.detach() for one in parameters]


def test_replayed_steps_are_those_of_plain_kernels() -> None:
    news = News()
    found, expected = trained(recorded=True, news=news), trained(recorded=False, news=News())
    # The same kernels on the same numbers: only sums by atomic additions may differ.
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert sum("recorded for inputs of" in line for line in news.take()) == 3


def test_what_makes_the_host_wait_ends_the_run_and_says_why() -> None:
    class Waiting(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * inputs.sum().item()

    news, model, inputs = News(), Waiting(), torch.randn(3, device=CARD, requires_grad=True)
    model.forward = GraphedModule(model.forward, [], CudaRecorder(CARD), news, lambda: 1.0, nullcontext)  # type: ignore[method-assign]
    before = torch.cuda.current_stream(CARD)
    with pytest.raises(LoracoreError, match=r"cuda_graphs: recording failed: .+leave out cuda_graphs"):
        model(inputs)
    assert torch.cuda.current_stream(CARD) == before
    assert news.take() == []


def test_a_mask_that_wants_a_gradient_needs_the_unfused_path_or_a_fused_kernel_but_is_never_silent() -> None:
    """Head sizes beyond 256 in float64 fit no fused kernel at all."""
    news = News()
    attention = Attention.on(CARD, "auto", news, compiled=False)
    query = torch.randn(1, 1, 4, 512, dtype=torch.float64, device=CARD, requires_grad=True)

    def call() -> Tensor:
        found: Tensor = nn.functional.scaled_dot_product_attention(query, query, query)
        return found

    with attention.chosen():
        attention.tried(call).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    (line,) = news.take()
    assert "float64, head size 512, no mask" in line


def test_the_kernel_that_is_asked_for_is_taken() -> None:
    attention = Attention.on(CARD, "mem_efficient", News(), compiled=False)
    query = torch.randn(1, 2, 64, 64, dtype=torch.float16, device=CARD)
    with attention.chosen(), torch.profiler.profile() as profile:
        nn.functional.scaled_dot_product_attention(query, query, query)
    names = {event.name for event in profile.events()}
    assert any("efficient_attention" in name for name in names), SDPBackend.EFFICIENT_ATTENTION
