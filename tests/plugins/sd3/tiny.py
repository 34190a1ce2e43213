"""Tiny SD3 models with random weights: as a diffusers folder, as one checkpoint, and as files of single parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3.parts import kinds
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore import Models
from loracore.testing import tiny_models
from loracore.weights.layout import to_file

WIDTHS = (16, 24)  # of the CLIP text encoders; different, so that nothing can mix them up
CONTEXT = 48  # of T5, which the context is as wide as; both CLIPs side by side fit into it
HEADS, HEAD = 2, 16
TEXT = ("te1", "te2", "te3")
#: What tells the three kinds of transformer apart: blocks, blocks with a second attention, norm of queries and keys.
STYLES: Mapping[str, tuple[int, tuple[int, ...], str | None]] = {
    "medium": (3, (), None),
    "5-medium": (3, (0, 1), "rms_norm"),
    "5-large": (3, (), "rms_norm"),
}
FOLDERS = {"te1": "text_encoder", "te2": "text_encoder_2", "te3": "text_encoder_3", "vae": "vae", "unet": "transformer"}
OPTIONS = {"te1": "clip_l", "te2": "clip_g", "te3": "t5xxl", "vae": "vae"}


def tiny_transformer(style: str = "medium") -> SD3Transformer2DModel:
    """Return a transformer whose table of positions is not the one that diffusers computes."""
    depth, dual, norm = STYLES[style]
    transformer = SD3Transformer2DModel(
        sample_size=8,
        num_layers=depth,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        joint_attention_dim=CONTEXT,
        caption_projection_dim=HEADS * HEAD,
        pooled_projection_dim=sum(WIDTHS),
        pos_embed_max_size=16,
        dual_attention_layers=dual,
        qk_norm=norm,
    )
    transformer.pos_embed.pos_embed.mul_(0.5)
    return transformer


def tiny_parts(seed: int = 0, style: str = "medium") -> dict[str, nn.Module]:
    """Return all five parts with weights drawn from the seed; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {
            "te1": tiny_models.projecting_text_encoder(WIDTHS[0], layers=2, activation="quick_gelu"),
            "te2": tiny_models.projecting_text_encoder(WIDTHS[1], layers=3),
            "te3": tiny_models.t5_encoder(CONTEXT),
            "vae": tiny_models.vae(latent_channels=16, scale=1.5305, shift=0.0609, quant_conv=False),
            "unet": tiny_transformer(style).eval(),
        }


def write_folder(folder: Path, seed: int = 0, *, style: str = "medium", t5: bool = True) -> Path:
    """Write the model as a diffusers folder with tokenizers."""
    for name, module in tiny_parts(seed, style).items():
        saved: Any = module  # diffusers' and transformers' own base classes
        if t5 or name != "te3":
            saved.save_pretrained(folder / FOLDERS[name])
    tiny_models.write_tokenizer(folder / "tokenizer")
    tiny_models.write_tokenizer(folder / "tokenizer_2", padding="!")
    if t5:
        tiny_models.write_t5_tokenizer(folder / "tokenizer_3")
    third = ["transformers", "T5EncoderModel"] if t5 else [None, None]
    index = {"_class_name": "StableDiffusion3Pipeline", "text_encoder_3": third}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def write_checkpoint(
    path: Path, seed: int = 0, *, style: str = "medium", inside: Collection[str] = FOLDERS.keys(), prefixed: bool = True
) -> Path:
    """Write parts of the model as one checkpoint; tokenizers and the sizes that no tensor tells stand beside it."""
    parts = tiny_parts(seed, style)
    save_file(original_tensors({name: parts[name] for name in inside}, prefixed=prefixed), path)
    whole = write_folder(path.with_suffix(""), seed, style=style)
    for weights in whole.glob("*/*.safetensors"):
        weights.unlink()
    return path


def write_separate(folder: Path, seed: int = 0, *, prefixed: bool = False) -> dict[str, Path]:
    """Write text encoders and VAE as a file each, by option, their configurations beside them."""
    folder.mkdir(parents=True)
    found = {}
    for name, module in tiny_parts(seed).items():
        if name in OPTIONS:
            path = folder / f"{OPTIONS[name]}.safetensors"
            save_file(original_tensors({name: module}, prefixed=prefixed), path)
            saved: Any = module
            path.with_suffix("").mkdir()
            (path.with_suffix("") / "config.json").write_text(json.dumps(_plain(saved.config)), encoding="utf-8")
            found[OPTIONS[name]] = path
    return found


def original_tensors(parts: Mapping[str, nn.Module], *, prefixed: bool = True) -> dict[str, Tensor]:
    """Return the parts' tensors in the original layout."""
    found: dict[str, Tensor] = {}
    for kind in kinds():
        if kind.name in parts:
            module = parts[kind.name]
            names = kind.names(module, ())
            state = {key: tensor for key, tensor in module.state_dict().items() if "embed_tokens" not in key}
            prefix = kind.prefix if prefixed else ""
            found |= {prefix + name: tensor.clone() for name, tensor in to_file(state, names).items()}
    return found


def assert_equal(models: Models, seed: int = 0, style: str = "medium") -> None:
    """Every tensor is the one that the tiny model was made with, and none is on the meta device."""
    parts = tiny_parts(seed, style)
    for name, module in models.modules().items():
        torch.testing.assert_close(dict(module.state_dict()), dict(parts[name].state_dict()), rtol=0, atol=0)
        assert {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {"cpu"}


def fp8_file(source: Path, target: Path) -> Path:
    """Return a copy with every tensor in fp8, as files in the wild are."""
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(source).items()}, target)
    shutil.copytree(source.with_suffix(""), target.with_suffix(""))
    return target


def copy_without(source: Path, target: Path, *parts: str) -> Path:
    """Copy a model's folder, some parts left out."""
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns(*parts)))


def _plain(config: Any) -> dict[str, Any]:
    return dict(config.to_dict()) if hasattr(config, "to_dict") else dict(config)
