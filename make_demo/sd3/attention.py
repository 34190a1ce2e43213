"""Attend jointly to picture and text as SD3 does, but with one token for many equal ones: the same result, sooner."""

import math

import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class CountingAttention:
    """Attend with the last text token standing for `count` equal ones.

    Where T5 is missing, its tokens are zeros. Text tokens have no positions, so they stay equal through all layers, and
    n equal keys weigh what one weighs whose score is greater by ln n.
    """

    def __init__(self) -> None:
        """Count one token as one, which is SD3's own attention."""
        self.count = 1

    def __call__(
        self, attention: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, Tensor]:
        """Give what a layer adds to the picture's tokens B,N,W and to the text's B,L,W."""
        queries, keys, values = self._joint(attention, hidden_states, encoder_hidden_states)
        scores = torch.zeros(1, 1, 1, keys.shape[2])
        scores[..., -1] = math.log(self.count)
        scores = scores.expand(1, 1, keys.shape[2], -1)
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=scores).transpose(1, 2).flatten(2)
        pixels = hidden_states.shape[1]
        picture, text = found[:, :pixels], found[:, pixels:]
        if not attention.context_pre_only:
            text = attention.to_add_out(text)
        return attention.to_out[0](picture), text

    def _joint(self, attention: Attention, picture: Tensor, text: Tensor) -> list[Tensor]:
        """Project both to queries, keys and values B,H,N+L,W/H."""
        pairs = zip(
            (attention.to_q, attention.to_k, attention.to_v),
            (attention.add_q_proj, attention.add_k_proj, attention.add_v_proj),
            strict=True,
        )
        both = [torch.cat((of_picture(picture), of_text(text)), dim=1) for of_picture, of_text in pairs]
        parts = (len(picture), -1, attention.heads, picture.shape[-1] // attention.heads)
        return [tokens.view(parts).transpose(1, 2) for tokens in both]


def count_last_token(transformer: SD3Transformer2DModel, count: int) -> None:
    """Let a transformer's layers take the last text token for so many."""
    for processor in transformer.attn_processors.values():
        processor.count = count
