"""Captions → what the U-Net hears of them: the hidden state that clip_skip chooses, under the final norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loracore import Config, Models, TextConditioning, hookimpl
from loracore_sd15.options import Sd15Options


@hookimpl
def encode_text(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return "context" (B,75n+2,F) for n chunks of 75 tokens."""
    from loracore.diffusion.text.clip_text import join_chunks

    encoder: Any = models.text["te1"]
    tokens = models.extras["te1"].tokens(captions, config).to(encoder.device)
    said = encoder(input_ids=tokens.ids.flatten(0, 1), output_hidden_states=True)
    skip = config[Sd15Options].clip_skip or 1
    # Not every version of transformers leaves the last one of ``hidden_states`` without the final norm.
    chosen = said.last_hidden_state if skip == 1 else encoder.final_layer_norm(said.hidden_states[-skip])
    return TextConditioning({"context": tokens.weighed(join_chunks(chosen.unflatten(0, tokens.ids.shape[:2])))})
