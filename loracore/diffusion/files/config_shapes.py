"""Configurations of text encoders and VAEs, read off the shapes of their tensors in a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from typing import Any

from loracore.diffusion.files.weight_names import clip_name, has_diffusers_names, is_open_clip
from loracore.weights.headers import Shape

#: Width of an attention head and number of norm groups, where the original layout leaves them to its code.
HEAD_WIDTH = 64
NORM_GROUPS = 32

_log = logging.getLogger(__name__)


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """Return how many numbers follow ``prefix`` in the names: 12 for names with ``layers.0.`` … ``layers.11.``."""
    tails = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return 1 + max((int(tail.split(".", 1)[0]) for tail in tails), default=-1)


def heads(widths: Sequence[int], label: str) -> list[int]:
    """Return the number of attention heads of each width, which no tensor's shape tells."""
    found = [max(1, width // HEAD_WIDTH) for width in widths]
    if any(width % HEAD_WIDTH for width in widths):
        _guessed(label, f"{found} attention heads for widths {list(widths)}")
    return found


def norm_groups(widths: Iterable[int], label: str) -> int:
    """Return the number of groups of the group norms, which no tensor's shape tells."""
    groups = gcd(NORM_GROUPS, *widths)
    if groups != NORM_GROUPS:
        _guessed(label, f"{groups} groups in each norm")
    return groups


@contextmanager
def guesses_untold() -> Iterator[None]:
    """Keep guesses off the log: for loading, as the check before training says them, and other work reads no guess."""
    level = _log.level
    _log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _log.setLevel(level)


def _guessed(label: str, what: str) -> None:
    message = (
        "%s: the file's sizes are unusual; guessing %s. A folder named like the file, with config.json files, says it"
    )
    _log.warning(message, label, what)


@dataclass(frozen=True, slots=True)
class ClipSpelling:
    """What a file calls the tensors of a CLIP text encoder that tell its sizes."""

    tokens: str
    positions: str
    layers: str
    inner: str  # of layer 0


HUGGING_FACE = ClipSpelling(
    "text_model.embeddings.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight",
    "text_model.encoder.layers.",
    "text_model.encoder.layers.0.mlp.fc1.weight",
)
OPEN_CLIP = ClipSpelling(
    "token_embedding.weight",
    "positional_embedding",
    "transformer.resblocks.",
    "transformer.resblocks.0.mlp.c_fc.weight",
)


def clip_config(shapes: Mapping[str, Shape], standard: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the configuration of a CLIP text encoder of these shapes; ``standard`` where the shapes are its own.

    Raises KeyError with the name of a missing tensor that tells a size.
    """
    spelling = OPEN_CLIP
    if not is_open_clip(shapes):
        spelling, shapes = HUGGING_FACE, {clip_name(name): shape for name, shape in shapes.items()}
    vocabulary, width = shapes[spelling.tokens]
    unusual = width != standard["hidden_size"]
    found = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": heads([width], label)[0] if unusual else standard["num_attention_heads"],
        "intermediate_size": shapes[spelling.inner][0],
        "num_hidden_layers": count_blocks(shapes, spelling.layers),
        "max_position_embeddings": shapes[spelling.positions][0],
        "projection_dim": width,
    }
    if "text_projection" in shapes:  # OpenCLIP's, transposed
        found["projection_dim"] = shapes["text_projection"][1]
    elif "text_projection.weight" in shapes:
        found["projection_dim"] = shapes["text_projection.weight"][0]
    return {**standard, **found}


def t5_config(shapes: Mapping[str, Shape], standard: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a T5 encoder of these shapes; its heads are told by the table of distances.

    Raises KeyError with the name of a missing tensor that tells a size.
    """
    tokens = "shared.weight" if "shared.weight" in shapes else "encoder.embed_tokens.weight"
    first = "encoder.block.0.layer."
    buckets, found_heads = shapes[f"{first}0.SelfAttention.relative_attention_bias.weight"]
    inner = shapes[f"{first}0.SelfAttention.q.weight"][0]
    gated = f"{first}1.DenseReluDense.wi.weight" not in shapes
    return {
        **standard,
        "vocab_size": shapes[tokens][0],
        "d_model": shapes[tokens][1],
        "d_kv": inner // found_heads,
        "d_ff": shapes[f"{first}1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight"][0],
        "num_layers": count_blocks(shapes, "encoder.block."),
        "num_heads": found_heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }


def vae_config(shapes: Mapping[str, Shape], standard: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a VAE of these shapes (original layout or diffusers' names, without prefix).

    Raises KeyError with the name of a missing tensor that tells a size.
    """
    down, resnets = ("down_blocks", "resnets") if has_diffusers_names(shapes) else ("down", "block")
    levels = count_blocks(shapes, f"encoder.{down}.")
    widths = [shapes[f"encoder.{down}.{level}.{resnets}.0.conv2.weight"][0] for level in range(levels)]
    found: dict[str, Any] = {
        "block_out_channels": widths,
        "layers_per_block": count_blocks(shapes, f"encoder.{down}.0.{resnets}."),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }
    if widths != standard["block_out_channels"]:
        found["norm_num_groups"] = norm_groups(widths, "VAE")
    return {**standard, **found}
