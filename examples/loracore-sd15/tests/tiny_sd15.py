"""A tiny Stable Diffusion 1 with random weights, as files have it, and the types of what the fixtures give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from loracore_sd15.names import unet_names
from torch import Tensor, nn

from loracore import Config
from loracore.diffusion.files.weight_names import clip_name, vae_names
from loracore.testing import tiny_models
from loracore.weights.layout import to_file

Train = Callable[..., Path]
MakeConfig = Callable[..., Config]
FOLDERS = {"te1": "text_encoder", "vae": "vae", "unet": "unet"}
WIDTH = 16  # of the text encoder


def tiny_unet() -> UNet2DConditionModel:
    """Return a U-Net with Stable Diffusion 1's blocks."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        norm_num_groups=tiny_models.GROUPS,
    )


def tiny_parts() -> dict[str, nn.Module]:
    """Return all three parts, always with the same weights; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text, vae = tiny_models.text_encoder(WIDTH, layers=3), tiny_models.vae(scale=0.18215)
        return {"te1": text, "vae": vae, "unet": tiny_unet().eval()}


def write_folder(folder: Path, parts: dict[str, nn.Module]) -> Path:
    """Write the model with its tokenizer."""
    for name, module in parts.items():
        saved: Any = module  # the libraries' own base classes
        saved.save_pretrained(folder / FOLDERS[name])
    tiny_models.write_tokenizer(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}), encoding="utf-8")
    return folder


def original_tensors(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return the parts' tensors in the original layout, and one of those that nobody reads."""
    text, vae, unet = (parts[name].state_dict() for name in ("te1", "vae", "unet"))
    found = {f"cond_stage_model.transformer.{clip_name(key)}": tensor for key, tensor in text.items()}
    found |= {f"first_stage_model.{key}": tensor for key, tensor in to_file(vae, vae_names(vae)).items()}
    named = to_file(unet, unet_names(parts["unet"]))
    found |= {f"model.diffusion_model.{key}": tensor for key, tensor in named.items()}
    found["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return {key: tensor.contiguous() for key, tensor in found.items()}
