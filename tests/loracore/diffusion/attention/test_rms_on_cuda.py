"""The norm of queries and keys on a card: its reductions and mixed precisions take other kernels than on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import pytest
import torch
from diffusers.models.normalization import RMSNorm
from torch import Tensor

from loracore.diffusion.attention.rms import normed
from tests.loracore.diffusion.attention.test_rms import formula

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CARD = torch.device("cuda", 0)
BATCH, TOKENS, HEADS, WIDTH = 2, 333, 5, 64
SHAPE = (BATCH, TOKENS, HEADS, WIDTH)

#: By how much a row may be off, of its length. Each of three or four operations rounds by 2^-9 (bf16), 2^-12 (float16)
#: or 2^-24 at most; in float32 the sum of 64 squares rounds, too.
LIMITS: Mapping[torch.dtype, float] = MappingProxyType(
    {torch.bfloat16: 0.012, torch.float16: 0.0015, torch.float32: 1e-6}
)


def norm_of(weight: Tensor) -> RMSNorm:
    norm = RMSNorm(WIDTH, 1e-6)
    norm.weight = torch.nn.Parameter(weight, requires_grad=False)
    return norm


def outcome(norm: Callable[[Tensor], Tensor], stacked: Tensor, gradient: Tensor, *, first: bool) -> list[Tensor]:
    """Norm the middle one of three projections (3, B · T, heads · d); return that, and the gradient of all (…,d).

    ``first`` moves the heads forward before the norm, not behind it; what comes out is (B,T,heads,d) either way.
    """
    leaf = stacked.detach().requires_grad_()
    states = leaf.unbind()[1].view(SHAPE)
    found = norm(states.transpose(1, 2)).transpose(1, 2) if first else norm(states)
    (of_all,) = torch.autograd.grad(found, leaf, gradient)
    assert found.dtype == of_all.dtype == stacked.dtype
    return [found.detach().double().cpu(), of_all.double().cpu().view(3, *SHAPE)]


@pytest.mark.parametrize("first", [False, True], ids=["heads behind", "heads first"])
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_it_gives_what_float64_gives_on_the_cpu_within_rounding(dtype: torch.dtype, first: bool) -> None:
    torch.manual_seed(0)
    stacked = (3 * torch.randn(3, BATCH * TOKENS, HEADS * WIDTH)).to(dtype)
    # As attention's backward pass gives it: the heads are forward.
    gradient = torch.randn(BATCH, HEADS, TOKENS, WIDTH).to(dtype).transpose(1, 2)
    weight = (1 + 0.3 * torch.randn(WIDTH)).to(dtype)
    expected, all_expected = outcome(
        partial(formula, norm_of(weight.double())), stacked.double(), gradient.double(), first=first
    )
    ours = partial(normed, norm_of(weight.to(CARD)))
    found, all_found = outcome(ours, stacked.to(CARD), gradient.to(CARD), first=first)
    for one, other in ((found, expected), (all_found[1], all_expected[1])):
        assert ((one - other).norm(dim=-1) / other.norm(dim=-1)).max() < LIMITS[dtype]
    assert not all_found[[0, 2]].any()


def test_rows_of_zeros_and_of_large_numbers_have_finite_gradients() -> None:
    weight = torch.linspace(0.5, 1.5, WIDTH, dtype=torch.float16, device=CARD)
    states = torch.stack([torch.zeros(WIDTH), torch.full((WIDTH,), 60_000.0)]).to(CARD, torch.float16).requires_grad_()
    found = normed(norm_of(weight), states)  # squares overflow in float16
    (gradient,) = torch.autograd.grad(found, states, torch.ones_like(found))
    assert gradient.isfinite().all()
    assert not found[0].any()
    torch.testing.assert_close(found[1].detach(), weight)
