"""The parts of SD3 and SD3.5: CLIP-L, CLIP-G, T5-XXL, VAE and transformer; where files hold them, and their sizes."""

from __future__ import annotations

from functools import partial
from math import isqrt

import torch
from diffusers import SD3Transformer2DModel
from torch import nn

from loracore.diffusion.files.config_shapes import count_blocks, heads
from loracore.diffusion.files.folders import packaged_config
from loracore.diffusion.files.loading import building_quietly
from loracore.diffusion.files.part_kinds import clip_kind, denoiser_kind, identity_projection, public, t5_kind, vae_kind
from loracore.diffusion.files.parts import PartKind, Settings, Shapes
from loracore.weights.headers import BASE_VERSION, adapter_header
from loracore_sd3.names import transformer_names
from loracore_sd3.recognition import UNET

_LARGE, _DUAL = 2432, 9 * 1536  # width of 3.5 large; modulation in 3.5 medium's blocks with two attentions
_INSIDE = "text_encoders.{}.transformer."


def kinds(lora: str | None = None) -> tuple[PartKind, ...]:
    """Return the kinds of parts in the order of ``Models``; ``lora``: for its model are the standard sizes."""
    te1, te2, te3, vae = (
        partial(packaged_config, "loracore_sd3", f"{folder}/config.json")
        for folder in ("text_encoder", "text_encoder_2", "text_encoder_3", "vae")
    )
    clip = partial(clip_kind, projecting=True, bare=("text_model.", "embeddings."))
    places = [
        (f"text_encoder{end}", _INSIDE.format(name))
        for end, name in (("", "clip_l"), ("_2", "clip_g"), ("_3", "t5xxl"))
    ]
    return (
        clip(places[0], "CLIP-L", te1, name="te1", option="clip_l", supplied=identity_projection),
        clip(places[1], "CLIP-G", te2, name="te2", option="clip_g"),
        t5_kind(
            places[2], "T5-XXL", te3, name="te3", option="t5xxl", bare=("encoder.block.", "shared."), optional=True
        ),
        vae_kind(vae),
        denoiser_kind(
            ("transformer", UNET),
            "transformer",
            _build_transformer,
            partial(_standard_transformer, lora),
            _transformer_config,
            transformer_names,
            bare=("joint_blocks.",),
        ),
    )


def _standard_transformer(lora: str | None) -> Settings:
    """Return the configuration of the kind that a LoRA file fits: told by its layers, else by its header."""
    header = adapter_header(lora)
    sizes, said = {side for shape in header.shapes.values() for side in shape}, header.metadata.get(BASE_VERSION)
    dual = said == "5-medium" or _DUAL in sizes or any("attn2" in name for name in header.shapes)
    kind = "5-large" if _LARGE in sizes else "5-medium" if dual else "medium"
    return packaged_config("loracore_sd3", f"transformer/{kind}.json")


def _transformer_config(shapes: Shapes, _: Shapes) -> Settings:
    """Return the configuration of a transformer of these shapes (original layout, without prefix)."""
    width, channels, patch, _side = shapes["x_embedder.proj.weight"]
    depth = count_blocks(shapes, "joint_blocks.")
    norm = shapes.get("joint_blocks.0.context_block.attn.ln_k.weight")
    found = heads([width], "transformer")[0] if norm is None else width // norm[0]
    return {
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": depth,
        "attention_head_dim": width // found,
        "num_attention_heads": found,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "caption_projection_dim": width,
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": isqrt(shapes["pos_embed"][1]),
        "dual_attention_layers": [n for n in range(depth) if f"joint_blocks.{n}.x_block.attn2.qkv.weight" in shapes],
        "qk_norm": "rms_norm" if norm is not None else None,
    }


def _build_transformer(config: Settings) -> nn.Module:
    with building_quietly(), torch.device("meta"):  # its table of positions too, which is large and comes from the file
        transformer: nn.Module = SD3Transformer2DModel.from_config(public(config))
    return transformer
