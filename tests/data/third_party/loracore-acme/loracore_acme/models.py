"""Acme's modules. Its base model is a recipe: a JSON file with width, depth and seed, from which weights are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import DataError, Latents, LoraTarget, Models, Part, TextConditioning

CHANNELS, FEATURES, PATCH, WORDS, VOCABULARY = 6, 16, 8, 12, 256


class Reader(nn.Module):
    """Text encoder: a table of hashed words, each told of the others by one gate."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, FEATURES)
        self.gate = nn.Linear(FEATURES, FEATURES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return B,T,F for tokens B,T."""
        words: Tensor = self.table(tokens)
        return words * torch.sigmoid(self.gate(words.mean(dim=1, keepdim=True)))


class Block(nn.Module):
    """Patches look at words, then think for themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(FEATURES, width)
        self.value = nn.Linear(FEATURES, width)
        self.think = nn.Linear(width, width)

    def forward(self, patches: Tensor, words: Tensor) -> Tensor:
        """Return B,P,W."""
        seen = functional.scaled_dot_product_attention(self.query(patches), self.key(words), self.value(words))
        return patches + functional.silu(self.think(patches + seen))


class Denoiser(nn.Module):
    """Blocks over the latents' pixels."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(CHANNELS + 1, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.leave = nn.Linear(width, CHANNELS)

    def forward(self, latents: Tensor, sigma: Tensor, words: Tensor) -> Tensor:
        """Return B,C,h,w."""
        dtype, (height, width) = self.enter.weight.dtype, latents.shape[2:]
        level = (1 / (1 + sigma)).view(-1, 1, 1, 1).expand(-1, 1, height, width)
        patches = self.enter(torch.cat([latents, level], dim=1).flatten(2).transpose(1, 2).to(dtype))
        for block in self.blocks:
            patches = block(patches, words.to(dtype))
        left: Tensor = self.leave(patches)
        return left.transpose(1, 2).view(-1, CHANNELS, height, width)


def read_recipe(recipe: str) -> tuple[int, int, int]:
    """Return width, depth and seed; raises DataError for a file that is no recipe."""
    try:
        values = json.loads(Path(recipe).read_text(encoding="utf-8"))
        return int(values["width"]), int(values["depth"]), int(values["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = "this is no Acme recipe: a JSON file with width, depth and seed"
        raise DataError(message, where=recipe) from error


def load(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, recipe: str) -> Models:
    """Return the named parts as the recipe says."""
    width, depth, seed = read_recipe(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader, denoiser = Reader(), Denoiser(width, depth)
        vae = nn.Sequential(nn.PixelUnshuffle(PATCH), nn.Conv2d(3 * PATCH**2, CHANNELS, 1))
    for module in (reader, denoiser, vae):
        module.requires_grad_(requires_grad=False).eval().to(device, dtype)
    return Models(
        text={"te1": reader} if "text" in parts else {},
        vae=vae if "vae" in parts else None,
        denoiser=denoiser if "denoiser" in parts else None,
        blocks={"unet": tuple(denoiser.blocks)} if "denoiser" in parts else {},
    )


def encode_text(models: Models, captions: Sequence[str]) -> TextConditioning:
    """Return {"words": B,T,F}."""
    reader = models.text["te1"]
    rows = [[1 + crc32(word.encode()) % (VOCABULARY - 1) for word in caption.split()][:WORDS] for caption in captions]
    tokens = torch.tensor([row + [0] * (WORDS - len(row)) for row in rows], device=next(reader.parameters()).device)
    return TextConditioning({"words": reader(tokens)})


def encode_images(models: Models, images: Tensor) -> Latents:
    """Return B,6,H/8,W/8."""
    assert models.vae is not None
    mean = models.vae(images.to(next(models.vae.parameters()).dtype)).float()
    return Latents(mean, torch.full_like(mean, -6.0))


def targets(models: Models, mix_dim: int | None) -> list[LoraTarget]:
    """Return the reader's gate, and every layer of every block: key and value share one adapter."""
    found = []
    for part, reader in models.text.items():
        assert isinstance(reader, Reader)
        found.append(LoraTarget(f"lora_{part}_gate", (reader.gate,), ("gate",), part))
    for number, block in enumerate(models.blocks.get("unet", ())):
        assert isinstance(block, Block)
        key, path = f"lora_unet_blocks_{number}", f"blocks.{number}"
        attention = (("query", {"query": block.query}), ("kv", {"key": block.key, "value": block.value}))
        for name, layers in attention:
            paths = tuple(f"{path}.{layer}" for layer in layers)
            found.append(LoraTarget(f"{key}_{name}", tuple(layers.values()), paths, "unet", path, rank=mix_dim))
        found.append(LoraTarget(f"{key}_think", (block.think,), (f"{path}.think",), "unet", path))
    return found
