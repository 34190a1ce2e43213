"""A tiny SDXL with random weights: as a diffusers folder, and as one checkpoint in the original layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from loracore_sdxl.names import unet_names
from loracore_sdxl.recognition import TE1, TE2, UNET, VAE
from safetensors.torch import save_file
from torch import Tensor, nn

from loracore.diffusion.files.weight_names import clip_name, open_clip_names, vae_names
from loracore.testing import tiny_models
from loracore.weights.layout import Names, to_file

WIDTHS = (16, 24)  # of the text encoders; different, so that nothing can mix them up
FOLDERS = {"te1": "text_encoder", "te2": "text_encoder_2", "vae": "vae", "unet": "unet"}
SIZE_WIDTH = 8  # features of each of the six size numbers
CHANNELS = (8, 16, 32)


def tiny_unet() -> UNet2DConditionModel:
    """Return a U-Net with SDXL's blocks: each of its LoRA keys is also one of the full-size model's."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(1, 2, 4),
        cross_attention_dim=sum(WIDTHS),
        norm_num_groups=tiny_models.GROUPS,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_WIDTH,
        projection_class_embeddings_input_dim=WIDTHS[1] + 6 * SIZE_WIDTH,
    )


def tiny_parts(seed: int = 0) -> dict[str, nn.Module]:
    """Return all four parts with weights drawn from the seed; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {
            "te1": tiny_models.text_encoder(WIDTHS[0], layers=3),
            "te2": tiny_models.projecting_text_encoder(WIDTHS[1], layers=2),
            "vae": tiny_models.vae(),
            "unet": tiny_unet().eval(),
        }


def write_folder(folder: Path, seed: int = 0) -> Path:
    """Write the model as a diffusers folder with tokenizers."""
    for name, module in tiny_parts(seed).items():
        saved: Any = module  # diffusers' and transformers' own base classes
        saved.save_pretrained(folder / FOLDERS[name])
    tiny_models.write_tokenizer(folder / "tokenizer")
    tiny_models.write_tokenizer(folder / "tokenizer_2", padding="!")
    index = {"_class_name": "StableDiffusionXLPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    """Write the model as one checkpoint, and the sizes that no tensor tells as config.json files beside it."""
    save_file(checkpoint_tensors(tiny_parts(seed)), path)
    whole = write_folder(path.with_suffix(""), seed)
    for weights in whole.glob("*/*.safetensors"):
        weights.unlink()
    return path


def checkpoint_tensors(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return the parts' tensors in the original layout."""
    found: dict[str, Tensor] = {}
    for name, prefix in (("te1", TE1), ("te2", TE2), ("vae", VAE), ("unet", UNET)):
        state = parts[name].state_dict()
        tensors = (
            to_file(state, _names(name, parts[name])) if name != "te1" else {clip_name(k): v for k, v in state.items()}
        )
        found |= {prefix + key: tensor.contiguous() for key, tensor in tensors.items()}
    return found


def copy_without(source: Path, target: Path, *parts: str) -> Path:
    """Copy a model's folder, some parts left out."""
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns(*parts)))


def _names(name: str, module: nn.Module) -> Names:
    if name == "unet":
        return unet_names(module)
    keys = list(module.state_dict())
    return vae_names(keys) if name == "vae" else open_clip_names(keys, ())
