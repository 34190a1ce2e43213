"""Attention of a U-Net: what a picture attends to is itself, or a caption."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from loracore.diffusion.attention.rms import normed
from loracore.diffusion.attention.signatures import signed
from loracore.networks.grouped import project


class GroupedAttention:
    """A processor for diffusers' Attention that gives what its AttnProcessor2_0 gives, projections called together.

    It is for attention without norms of its inputs, residual and scaled output: there is nothing else to compute. An
    output divided by 1 would be an operation more, and another one in the backward pass.
    """

    @signed
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,  # noqa: ARG002  # norms that look at it are not for this processor
    ) -> Tensor:
        """Return (B,T,out) for hidden states (B,T,in), which attend to themselves or to (B,S,context)."""
        if encoder_hidden_states is None:
            query, key, value = project((attn.to_q, attn.to_k, attn.to_v), hidden_states)
        else:
            query = attn.to_q(hidden_states)
            key, value = project((attn.to_k, attn.to_v), encoder_hidden_states)
        query, key, value = (one.view(*one.shape[:2], attn.heads, -1).transpose(1, 2) for one in (query, key, value))
        query, key = normed(attn.norm_q, query), normed(attn.norm_k, key)
        mask = None if attention_mask is None else _mask(attn, attention_mask, key)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # B, heads, T, d
        output: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        dropped: Tensor = attn.to_out[1](output)
        return dropped


def _mask(attn: Any, mask: Tensor, key: Tensor) -> Tensor:
    """Return the mask as torch takes it (B, heads, T, S)."""
    batch, _, length, _ = key.shape
    prepared: Tensor = attn.prepare_attention_mask(mask, length, batch)
    return prepared.view(batch, attn.heads, -1, prepared.shape[-1])
