"""Which attention of a model calls its projections together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor2_0, JointAttnProcessor2_0
from torch import nn

from loracore.diffusion.attention.joint import GroupedJointAttention
from loracore.diffusion.attention.plain import GroupedAttention


def group_attention(model: nn.Module) -> Sequence[Sequence[nn.Module]]:
    """Let the model's attention call its projections of one input together, and return these sets of layers.

    Modules that do more than diffusers' standard processors for queries, keys and values, in a form that is not known
    here, keep what they have. The results stay the same.
    """
    return [layers for module in model.modules() if isinstance(module, Attention) for layers in _grouped(module)]


def _grouped(attention: Any) -> Iterator[Sequence[nn.Module]]:
    """Give an attention module its new processor, and the sets of layers that this calls together."""
    kind, own = type(attention.processor), (attention.to_q, attention.to_k, attention.to_v)
    if attention.fused_projections:
        return
    if kind is AttnProcessor2_0 and _is_bare(attention):
        attention.set_processor(GroupedAttention())
        yield own[1:] if attention.is_cross_attention else own
    elif kind is JointAttnProcessor2_0:
        attention.set_processor(GroupedJointAttention())
        yield own
        if attention.add_k_proj is not None:
            yield attention.add_q_proj, attention.add_k_proj, attention.add_v_proj


def _is_bare(attention: Any) -> bool:
    """Tell whether nothing but projections, norms of queries and keys, and the attention itself is computed."""
    norms = (attention.group_norm, attention.spatial_norm, attention.norm_cross)
    plain_output = not attention.residual_connection and attention.rescale_output_factor == 1
    return all(norm is None for norm in norms) and plain_output and not attention.only_cross_attention
