"""Captions → what the U-Net hears of them: both encoders' hidden states, and the pooled state of the second."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from loracore import Config, Models, TextConditioning
from loracore.diffusion.text.clip_text import ClipTokenizer, ClipTokens, encode_ids, pooled_state


def encode(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return "context" (B,75n+2,F1+F2) and "pooled" (B,P) for n chunks of 75 tokens."""
    first, second = models.text["te1"], models.text["te2"]
    tokenizers: tuple[ClipTokenizer, ClipTokenizer] = (models.extras["te1"], models.extras["te2"])
    if not isinstance(first, CLIPTextModel) or not isinstance(second, CLIPTextModelWithProjection):
        message = "the text encoders are not those that load_models made"
        raise TypeError(message)
    tokens1, tokens2 = (tokenizer.tokens(captions, config).to(first.device) for tokenizer in tokenizers)
    return encode_tokens((first, second), (tokens1, tokens2), tokenizers[1].end_id)


def encode_tokens(
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection], tokens: tuple[ClipTokens, ClipTokens], end_id: int
) -> TextConditioning:
    """Return "context" and "pooled" for the tokens of the two encoders; the pooled state is of the first chunk.

    Weights of tokens change the context alone.
    """
    first, second = encoders
    states1, states2 = encode_ids(first, tokens[0].ids), encode_ids(second, tokens[1].ids)
    pooled = pooled_state(second.text_projection, states2.final, tokens[1].ids[:, 0], end_id)
    context = torch.cat([tokens[0].weighed(states1.penultimate), tokens[1].weighed(states2.penultimate)], dim=-1)
    return TextConditioning({"context": context, "pooled": pooled})
