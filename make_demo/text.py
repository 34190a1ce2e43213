"""Encode captions with CLIP text encoders in small, trained together with the denoiser that reads them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTokenizer

from make_demo.tokenizers import END, LENGTH, START

TOKENIZERS = ("tokenizer", "tokenizer_2")
ENCODERS = ("text_encoder", "text_encoder_2")
WIDTHS = (48, 64)
SMALL = MappingProxyType(
    {"hidden_size": WIDTHS[0], "intermediate_size": 96, "num_attention_heads": 3, "hidden_act": "quick_gelu"}
)
LARGE = MappingProxyType(
    {"hidden_size": WIDTHS[1], "intermediate_size": 128, "num_attention_heads": 4, "hidden_act": "gelu"}
)


def clip_config(kind: Mapping[str, Any], tokens: Mapping[str, int], padding: str, projection: int) -> CLIPTextConfig:
    """Describe a text encoder of two layers for a vocabulary."""
    return CLIPTextConfig(
        **kind,
        vocab_size=len(tokens),
        num_hidden_layers=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokens[START],
        eos_token_id=tokens[END],  # a real id: the pooled state is then the one at the first end
        pad_token_id=tokens[padding],
        projection_dim=projection,
    )


@torch.no_grad()
def spread(encoder: nn.Module) -> None:
    """Draw random weights anew: the library's spread of 0.02 is for large models and learns slowly here."""
    for name, weight in encoder.named_parameters():
        if "embedding" in name:
            weight.normal_(std=0.3)
        elif weight.ndim > 1:
            weight.normal_(std=0.7 / weight.shape[1] ** 0.5)


def encode_text(
    encoders: Iterable[nn.Module], tokenizers: Sequence[CLIPTokenizer], captions: Sequence[str], length: int
) -> tuple[Tensor, Tensor]:
    """Encode captions as the field does: both encoders' last but one states B,L,112, and what they project B,P."""
    states, pooled = [], []
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        tokens = tokenizer(
            list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        output = encoder(tokens.input_ids, output_hidden_states=True)
        states.append(output.hidden_states[-2])
        if "text_embeds" in output:
            pooled.append(output.text_embeds)
    return torch.cat(states, dim=-1), torch.cat(pooled, dim=-1)
