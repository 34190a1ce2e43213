"""The architectures that benchmarks train: SDXL, SD3 medium, SD3.5 medium and large; sizes, names and caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import loracore_sd3.parts
import loracore_sdxl.parts
import numpy as np
import torch
from loracore_sd3.targets import transformer_targets
from loracore_sdxl.configs import standard_config
from loracore_sdxl.models import unet_blocks
from loracore_sdxl.targets import unet_targets
from numpy.typing import NDArray
from torch import nn

from loracore import LoraTarget
from loracore.cli.request import read_request
from loracore.diffusion.files.folders import packaged_config
from loracore.diffusion.files.parts import PartKind
from loracore.noise.ddpm import picture_shares

_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")
_TOKENS = 77  # of CLIP, and here of T5, too
_SLIGHT = 0.005  # of a weight of noise or picture: no loss is moved by a gate's 1 %
_CLIP_L, _CLIP_G, _T5 = 768, 1280, 4096


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is of one architecture alone."""

    plugin: str  # of loracore
    words: tuple[str, ...]  # options
    kinds: Callable[[], tuple[PartKind, ...]]
    full: Callable[[], Mapping[str, Any]]  # the denoiser's configuration
    small: Mapping[str, Any]  # what is smaller in a small one
    deep: Mapping[str, Any]  # the same in one with all of its layers; empty: the field has none
    targets: Callable[[Any], Iterable[LoraTarget]]  # of a denoiser
    blocks: Callable[[Any], Iterable[nn.Module]]  # of a denoiser
    latents: Callable[[Path, int, np.random.Generator], None]  # writes a square picture's file of so many pixels a side
    text: Callable[[Path, np.random.Generator], None]  # writes a caption's file
    channels: int  # of latents
    timesteps: tuple[int, ...]  # to draw from


def architectures() -> Mapping[str, Architecture]:
    """Return all of them by their names on the command line."""
    medium = {"num_layers": 2, "num_attention_heads": 2, "caption_projection_dim": 128, "dual_attention_layers": [0]}
    large = {**medium, "num_layers": 4, "num_attention_heads": 4, "caption_projection_dim": 256}
    large["dual_attention_layers"] = []
    return MappingProxyType(
        {
            "sdxl": _sdxl(),
            "sd3-medium": _sd3("medium", {**medium, "dual_attention_layers": []}),
            "sd3.5-medium": _sd3("5-medium", medium),
            "sd3.5-large": _sd3("5-large", large),
        }
    )


def _sdxl() -> Architecture:
    return Architecture(
        plugin="sdxl",
        words=("--network_module", "networks.lora"),
        kinds=loracore_sdxl.parts.kinds,
        full=partial(standard_config, "unet"),
        small={
            "block_out_channels": [64, 128, 256],
            "attention_head_dim": [1, 2, 4],
            "transformer_layers_per_block": [1, 1, 1],
        },
        deep={"block_out_channels": [32, 64, 128], "attention_head_dim": [1, 1, 2]},
        targets=_linear_targets,
        blocks=unet_blocks,
        latents=_write_sdxl_latents,
        text=_write_sdxl_text,
        channels=4,
        timesteps=tuple(range(1000)),
    )


def _sd3(kind: str, small: Mapping[str, Any]) -> Architecture:
    return Architecture(
        plugin="sd3",
        words=("--network_module", "networks.lora_sd3", "--t5xxl_max_token_length", str(_TOKENS)),
        kinds=loracore_sd3.parts.kinds,
        full=partial(packaged_config, "loracore_sd3", f"transformer/{kind}.json"),
        small={**small, "pos_embed_max_size": 64},
        deep={},  # as wide as 64 times its number of layers, in sd-scripts
        targets=_sd3_targets,
        blocks=attrgetter("transformer_blocks"),
        latents=_write_sd3_latents,
        text=_write_sd3_text,
        channels=16,
        # sd-scripts has timesteps and noise levels in the weights' precision: those that bf16 holds as they are
        timesteps=(125, 250, 500),
    )


def attention_alone(architecture: Architecture) -> Architecture:
    """Return the architecture with four layers of each attention adapted and no others, as diffusers' scripts have it.

    Our side then takes what it adapts from the file that it starts from.
    """

    def targets(denoiser: Any) -> Iterable[LoraTarget]:
        return (target for target in architecture.targets(denoiser) if target.paths[0].endswith(_ATTENTION))

    words = (*architecture.words, "--dim_from_weights")
    return replace(architecture, words=words, targets=targets, timesteps=_noisy_alike_in_bf16())


def _noisy_alike_in_bf16() -> tuple[int, ...]:
    """Return the timesteps (902 of 1000) at which noise and picture weigh within 0.5 % what they should, in bf16.

    diffusers' scheduler takes its shares in the precision of the latents: at timestep 0 no noise is left of 3 %.
    """
    exact = picture_shares()
    rounded = exact.to(torch.bfloat16)
    pairs = ((1 - exact, 1 - rounded), (exact, rounded))
    near = [(right.sqrt() / wrong.sqrt().float() - 1).abs() < _SLIGHT for right, wrong in pairs]
    return tuple((near[0] & near[1]).nonzero().flatten().tolist())


def _linear_targets(unet: Any) -> Iterable[LoraTarget]:
    """Give what networks adapt without conv_dim."""
    return (target for target in unet_targets(unet) if not target.needs_conv)


def _sd3_targets(transformer: Any) -> Iterable[LoraTarget]:
    """Give what trains by default: rank 0 leaves a place out."""
    config = read_request(["--arch", "sd3"]).config
    return (target for target in transformer_targets(transformer, config) if target.rank != 0)


def linear_sizes(target: LoraTarget) -> tuple[int, int]:
    """Return the widths of what goes into a target and of what comes out of its layers, side by side."""
    layers = [layer for layer in target.layers if isinstance(layer, nn.Linear)]
    assert len(layers) == len(target.layers)
    return layers[0].in_features, sum(layer.out_features for layer in layers)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


def _write_sdxl_latents(picture: Path, side: int, rng: np.random.Generator) -> None:
    latents = _normal(rng, 4, side // 8, side // 8) / 0.13025  # files hold the VAE's own scale
    path = picture.with_name(f"{picture.stem}_{side:04d}x{side:04d}_sdxl.npz")
    np.savez(path, latents=latents, original_size=_pair(side), crop_ltrb=_corners(side))


def _write_sdxl_text(picture: Path, rng: np.random.Generator) -> None:
    arrays: dict[str, Any] = {
        "hidden_state1": _normal(rng, _TOKENS, _CLIP_L),
        "hidden_state2": _normal(rng, _TOKENS, _CLIP_G),
        "pool2": _normal(rng, _CLIP_G),
    }
    np.savez(picture.with_name(f"{picture.stem}_te_outputs.npz"), **arrays)


def _write_sd3_latents(picture: Path, side: int, rng: np.random.Generator) -> None:
    small = side // 8
    end = f"_{small}x{small}"
    arrays: dict[str, Any] = {
        f"latents{end}": _normal(rng, 16, small, small) / 1.5305 + 0.0609,
        f"original_size{end}": _pair(side),
        f"crop_ltrb{end}": _corners(side),
    }
    np.savez(picture.with_name(f"{picture.stem}_{side:04d}x{side:04d}_sd3.npz"), **arrays)


def _write_sd3_text(picture: Path, rng: np.random.Generator) -> None:
    whole = np.ones(_TOKENS, dtype=np.int64)  # masks that nobody applies
    arrays: dict[str, Any] = {
        "lg_out": _normal(rng, _TOKENS, _CLIP_L + _CLIP_G),
        "lg_pooled": _normal(rng, _CLIP_L + _CLIP_G),
        "t5_out": _normal(rng, _TOKENS, _T5),
        "clip_l_attn_mask": whole,
        "clip_g_attn_mask": whole,
        "t5_attn_mask": whole,
        "apply_lg_attn_mask": np.array(object=False),
        "apply_t5_attn_mask": np.array(object=False),
    }
    np.savez(picture.with_name(f"{picture.stem}_sd3_te.npz"), **arrays)


def _pair(side: int) -> NDArray[np.int64]:
    return np.array([side, side], dtype=np.int64)


def _corners(side: int) -> NDArray[np.float64]:
    return np.array([0, 0, side, side], dtype=np.float64)
