from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from loracore.speed.attention import Attention, Wanted, fused_backends
from loracore.speed.news import News

FLASH, EFFICIENT, CUDNN = SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION


def tensors(*sizes: int) -> list[Tensor]:
    """Return query, key and value of these head sizes (B,heads,T,size), with gradients."""
    torch.manual_seed(0)
    return [torch.randn(1, 2, 5, size, requires_grad=True) for size in sizes]


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    found: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return found


def unfused_allowed() -> bool:
    return bool(torch.backends.cuda.math_sdp_enabled())  # type: ignore[no-untyped-call]  # torch's own


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("auto", [FLASH, EFFICIENT, CUDNN]),
        ("flash", [FLASH, EFFICIENT, CUDNN]),
        ("mem_efficient", [EFFICIENT, FLASH, CUDNN]),
        ("cudnn", [CUDNN, FLASH, EFFICIENT]),
    ],
)
def test_attention_backend_is_tried_first_and_all_are_fused(wanted: Wanted, order: list[SDPBackend]) -> None:
    assert fused_backends(wanted) == order


def test_other_devices_are_left_alone() -> None:
    attention = Attention.on(torch.device("cpu"), "cudnn", News(), compiled=False)
    with attention.chosen():
        assert unfused_allowed()
        assert attention.tried(lambda: attended(*tensors(8, 8, 4))).shape == (1, 2, 5, 4)


def test_fused_kernels_alone_are_allowed_and_afterwards_all_are() -> None:
    news = News()
    attention = Attention([FLASH], news, ordered=False)
    with attention.chosen():
        assert not unfused_allowed()
        attention.tried(lambda: attended(*tensors(8, 8, 8))).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert unfused_allowed()
    assert news.take() == []


@pytest.mark.parametrize(
    ("mask", "described"), [(None, "no mask"), (torch.ones(5, 5, dtype=torch.bool), "a mask of bool")]
)
def test_what_no_fused_kernel_fits_is_computed_unfused_and_said_once(mask: Tensor | None, described: str) -> None:
    """On the CPU a value of another head size than the query is such a case: these are torch's own words."""
    news, (query, key, value) = News(), tensors(8, 8, 4)
    attention = Attention([FLASH], news, ordered=False)
    for _ in range(2):
        with attention.chosen():
            found = attention.tried(lambda: attended(query, key, value, mask))
            found.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert torch.equal(found, attended(query, key, value, mask))
    assert news.take() == [
        (
            f"attention: no fused kernel fits float32, head size 4 and 8, {described}: "
            "it is computed unfused, slower, in more memory"
        )
    ]


def test_a_pass_is_called_again_only_for_want_of_a_kernel() -> None:
    calls: list[str] = []

    def fails() -> Tensor:
        calls.append("called")
        message = "CUDA error: out of memory"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="out of memory"):
        Attention([FLASH], News(), ordered=False).tried(fails)
    assert calls == ["called"]


@pytest.mark.parametrize("told", [True, False])
def test_what_fails_unfused_is_said_to_be_unfused(*, told: bool) -> None:
    news, errors = News(), [MemoryError(), RuntimeError("No available kernel. Aborting execution.")]
    attention = Attention([FLASH], news, ordered=False, told=told)

    def fails() -> Tensor:
        raise errors.pop()

    with pytest.raises(MemoryError), attention.chosen():
        attention.tried(fails)
    (line,) = news.take()
    assert line.startswith("attention: no fused kernel fits")


def test_compiled_code_is_not_watched() -> None:
    news, told = News(), [RuntimeError("No available kernel. Aborting execution.")]
    attention = Attention([FLASH], news, ordered=False, told=False)

    def once() -> bool:
        if told:
            raise told.pop()
        return unfused_allowed()

    with attention.chosen():
        assert attention.tried(once)
    assert news.take() == ["attention: no fused kernel fits: it is computed unfused, slower, in more memory"]
