"""Attention with grouped projections gives what diffusers' own processors give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, JointAttnProcessor2_0
from torch import Tensor, nn

from loracore.diffusion.attention.grouping import group_attention
from loracore.diffusion.attention.joint import GroupedJointAttention
from loracore.diffusion.attention.plain import GroupedAttention

WIDTH, CONTEXT, HEADS = 12, 10, 2
#: As a U-Net asks for attention, and with norms of queries and keys.
PLAIN: dict[str, dict[str, Any]] = {
    "self": {},
    "cross": {"cross_attention_dim": CONTEXT},
    "normed": {"qk_norm": "rms_norm"},
    "normed cross": {"cross_attention_dim": CONTEXT, "qk_norm": "layer_norm"},
}
_JOINT = {"added_kv_proj_dim": WIDTH, "out_dim": WIDTH, "bias": True, "processor": JointAttnProcessor2_0()}
#: As the blocks of a joint transformer ask for it: the last one hands no caption on; a second attention has none.
JOINT: dict[str, dict[str, Any]] = {
    "joint": {**_JOINT, "context_pre_only": False},
    "last": {**_JOINT, "context_pre_only": True},
    "normed": {**_JOINT, "context_pre_only": False, "qk_norm": "rms_norm"},
    "second": {"out_dim": WIDTH, "bias": True, "processor": JointAttnProcessor2_0(), "qk_norm": "rms_norm"},
}


def attention(**options: Any) -> Any:
    torch.manual_seed(0)
    return Attention(WIDTH, heads=HEADS, dim_head=WIDTH // HEADS, **options).double()


def outcome(module: Any, tensors: dict[str, Tensor]) -> list[Tensor]:
    """Outputs, and the gradients of every input and parameter."""
    inputs = {name: one.clone().requires_grad_(one.dtype.is_floating_point) for name, one in tensors.items()}
    found = module(**inputs)
    outputs = [*found] if isinstance(found, tuple) else [found]
    torch.stack([output.sin().sum() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    wanted = [one for one in (*inputs.values(), *module.parameters()) if one.grad is not None]
    return [*outputs, *(one.grad for one in wanted)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", PLAIN)
def test_attention_of_a_u_net_is_that_of_diffusers(kind: str, masked: bool) -> None:
    module, tensors = attention(**PLAIN[kind]), {"hidden_states": torch.randn(3, 5, WIDTH).double()}
    if "cross" in kind:
        tensors["encoder_hidden_states"] = torch.randn(3, 4, CONTEXT).double()
    if masked:
        tensors["attention_mask"] = torch.randn(3, 1, 4 if "cross" in kind else 5).double()
    expected = outcome(module, tensors)
    module.zero_grad()
    together = group_attention(module)
    assert type(module.processor) is GroupedAttention
    assert [len(layers) for layers in together] == [2 if "cross" in kind else 3]
    assert_same(outcome(module, tensors), expected)


def test_an_attention_to_captions_may_be_called_without_one() -> None:
    module, tensors = attention(cross_attention_dim=WIDTH), {"hidden_states": torch.randn(3, 5, WIDTH).double()}
    expected = outcome(module, tensors)
    module.zero_grad()
    group_attention(module)
    assert_same(outcome(module, tensors), expected)


@pytest.mark.parametrize("kind", JOINT)
def test_joint_attention_is_that_of_diffusers(kind: str) -> None:
    module, tensors = attention(**JOINT[kind]), {"hidden_states": torch.randn(2, 5, WIDTH).double()}
    if kind != "second":
        tensors["encoder_hidden_states"] = torch.randn(2, 4, WIDTH).double()
    expected = outcome(module, tensors)
    module.zero_grad()
    together = group_attention(module)
    assert type(module.processor) is GroupedJointAttention
    assert len(together) == (1 if kind == "second" else 2)
    assert_same(outcome(module, tensors), expected)


@pytest.mark.parametrize("kind", ["normed", "second"])
def test_frozen_norms_are_those_of_diffusers_too(kind: str) -> None:
    """In float32: diffusers computes the mean of squares in it, whatever the precision is."""
    module = attention(**JOINT[kind]).float().requires_grad_(requires_grad=False)
    tensors = {"hidden_states": torch.randn(2, 5, WIDTH)}
    if kind != "second":
        tensors["encoder_hidden_states"] = torch.randn(2, 4, WIDTH)
    expected = outcome(module, tensors)
    group_attention(module)
    torch.testing.assert_close(outcome(module, tensors), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"norm_num_groups": 2},
        {"residual_connection": True},
        {"rescale_output_factor": 2.0},
        {"cross_attention_dim": CONTEXT, "cross_attention_norm": "layer_norm"},
    ],
)
def test_attention_that_does_more_keeps_what_it_has(options: dict[str, Any]) -> None:
    module = attention(**options)
    assert group_attention(nn.ModuleList([module])) == []
    assert type(module.processor) is AttnProcessor2_0
