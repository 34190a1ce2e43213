"""Captions → what each text encoder says → the context and the pooled state that the transformer hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from loracore import Batch, Config, Models, SampleRng, TextConditioning
from loracore.diffusion.text.clip_text import ClipTokenizer, encode_ids, pooled_state, text_mask
from loracore.diffusion.text.encoder_dropout import dropped
from loracore.diffusion.text.t5_text import T5Tokenizer, t5_states
from loracore_sd3.options import Sd3Options

#: What stands in for T5's states where there is no T5.
ABSENT_TOKENS = 77
_CLIPS = {"te1": "clip_l", "te2": "clip_g"}


def encode(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return what the loaded encoders say, for `assembled`.

    "clip_l" and "clip_g" (B,77,F), "clip_l_pooled" and "clip_g_pooled" (B,P), and "t5" (B,T,W).
    """
    masked, said = config[Sd3Options].apply_lg_attn_mask, {}
    for part, name in _CLIPS.items():
        if part in models.text:
            said[name], said[f"{name}_pooled"] = _clip_states(models, part, captions, masked=masked)
    if "te3" in models.text:
        said["t5"] = _t5_states(models, captions, config)
    return TextConditioning(said)


def prepared(batch: Batch, rng: SampleRng | None, config: Config) -> Batch:
    """Return the batch; with ``rng`` whole encoders are dropped out of some samples."""
    own = config[Sd3Options]
    rates = {"clip_l": own.clip_l_dropout_rate, "clip_g": own.clip_g_dropout_rate, "t5": own.t5_dropout_rate}
    if rng is None or "context" in batch.conditioning.tensors:
        return batch
    return replace(batch, conditioning=dropped(batch.conditioning, rates, rng))


def assembled(said: TextConditioning, width: int) -> TextConditioning:
    """Return "context" (B,77+T,width) and "pooled" (B,P1+P2): both CLIPs side by side, filled up with zeros, then T5.

    Where no T5 has spoken, 77 tokens of zeros stand in for it. A context that stands already is left as it is.
    """
    if "context" in said.tensors:
        return said
    clips = torch.cat([said["clip_l"], said["clip_g"]], dim=-1)
    filled = torch.cat([clips, clips.new_zeros(*clips.shape[:2], width - clips.shape[-1])], dim=-1)
    t5 = said.tensors.get("t5", clips.new_zeros(len(clips), ABSENT_TOKENS, width))
    pooled = torch.cat([said["clip_l_pooled"], said["clip_g_pooled"]], dim=-1)
    return TextConditioning({"context": torch.cat([filled, t5], dim=1), "pooled": pooled})


def _clip_states(models: Models, part: str, captions: Sequence[str], *, masked: bool) -> tuple[Tensor, Tensor]:
    """Return the last hidden state but one (B,77,F), and the projected state at the first end token (B,P)."""
    from transformers import CLIPTextModelWithProjection  # not at the top: steps need this module, and no encoder

    encoder, tokenizer = models.text[part], models.extras[part]
    assert isinstance(encoder, CLIPTextModelWithProjection)
    assert isinstance(tokenizer, ClipTokenizer)
    ids = tokenizer.ids(captions, 1).to(encoder.device)
    states = encode_ids(encoder, ids, text_mask(ids, tokenizer.end_id) if masked else None)
    return states.penultimate, pooled_state(encoder.text_projection, states.final, ids[:, 0], tokenizer.end_id)


def _t5_states(models: Models, captions: Sequence[str], config: Config) -> Tensor:
    encoder, tokenizer = models.text["te3"], models.extras["te3"]
    assert isinstance(tokenizer, T5Tokenizer)
    ids, mask = tokenizer.ids(captions, config[Sd3Options].t5xxl_max_token_length)
    return t5_states(encoder, ids, mask if config[Sd3Options].apply_t5_attn_mask else None)
