"""Tiny models with random weights: CLIP tokenizers, CLIP text encoders, VAEs; parts of any tiny base model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loracore.diffusion.quiet import quiet_libraries

START, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 77
#: Every byte inside a word and at its end, first and last token.
TOKENS = 2 * 256 + 2
GROUPS = 4


def write_tokenizer(folder: Path, padding: str = END) -> None:
    """Write a CLIP tokenizer that spells every word letter by letter; its first token, id 0, is "!"."""
    folder.mkdir(parents=True)
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, **names}
    vocabulary = {token: number for number, token in enumerate(tokens)}
    _write_json(folder / "vocab.json", vocabulary)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", names)
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def text_encoder(width: int, layers: int, *, heads: int = 2) -> CLIPTextModel:
    """Return a text encoder in the manner of CLIP-L."""
    with quiet_libraries():
        return _randomized(CLIPTextModel(_clip_config(width, layers, heads, "quick_gelu")))


def projecting_text_encoder(width: int, layers: int, *, heads: int = 2) -> CLIPTextModelWithProjection:
    """Return a text encoder with a projection of its pooled state, in the manner of OpenCLIP-G."""
    with quiet_libraries():
        return _randomized(CLIPTextModelWithProjection(_clip_config(width, layers, heads, "gelu")))


def vae(widths: tuple[int, ...] = (8, 8, 16, 16), *, latent_channels: int = 4, scale: float = 0.13025) -> AutoencoderKL:
    """Return a VAE that makes one latent of 2^(levels-1) pixels a side."""
    return _randomized(
        AutoencoderKL(
            block_out_channels=widths,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            latent_channels=latent_channels,
            norm_num_groups=GROUPS,
            scaling_factor=scale,
            sample_size=64,
        )
    )


def _clip_config(width: int, layers: int, heads: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=TOKENS,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=POSITIONS,
        hidden_act=activation,
        bos_token_id=TOKENS - 2,
        eos_token_id=TOKENS - 1,
        pad_token_id=TOKENS - 1,
    )


@torch.no_grad()
def _randomized(module: nn.Module) -> nn.Module:
    """Draw all matrices anew, from the global generator: the libraries' own draws leave biases and norms at 0 and 1."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=0.5 * parameter[0].numel() ** -0.5)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module.eval()


def _byte_letters() -> list[str]:
    """Return a printable letter for each byte, as CLIP's tokenizer spells them, in the order of its vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in plain] + [chr(256 + number) for number in range(256 - len(plain))]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
