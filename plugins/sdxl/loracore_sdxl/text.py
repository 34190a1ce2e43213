"""Captions → what the U-Net hears of them: both encoders' hidden states, and the pooled state of the second."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from loracore import Config, Models, TextConditioning
from loracore.diffusion.clip_text import ClipTokenizer, encode_ids, pooled_state
from loracore.diffusion.options import chunk_count


def encode(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return "context" (B,75n+2,F1+F2) and "pooled" (B,P) for n chunks of 75 tokens."""
    first, second = models.text["te1"], models.text["te2"]
    tokenizers: tuple[ClipTokenizer, ClipTokenizer] = (models.extras["te1"], models.extras["te2"])
    if not isinstance(first, CLIPTextModel) or not isinstance(second, CLIPTextModelWithProjection):
        message = "the text encoders are not those that load_models made"
        raise TypeError(message)
    chunks = chunk_count(config)
    ids1, ids2 = (tokenizer.ids(captions, chunks).to(first.device) for tokenizer in tokenizers)
    return encode_tokens((first, second), (ids1, ids2), tokenizers[1].end_id)


def encode_tokens(
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection], ids: tuple[Tensor, Tensor], end_id: int
) -> TextConditioning:
    """Return "context" and "pooled" for ids (B,n,77) of the two encoders; the pooled state is of the first chunk."""
    first, second = encoders
    states1, states2 = encode_ids(first, ids[0]), encode_ids(second, ids[1])
    pooled = pooled_state(second.text_projection, states2.final, ids[1][:, 0], end_id)
    context = torch.cat([states1.penultimate, states2.penultimate], dim=-1)
    return TextConditioning({"context": context, "pooled": pooled})
