"""The toy architecture's modules: what ``loracore.testing.toy`` loads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from loracore.types import Latents, LoraTarget, Models, Part, TextConditioning

CHANNELS, FEATURES, PIXELS = 3, 8, 8


class ToyText(nn.Module):
    """A table of bytes, averaged and projected."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, FEATURES)
        self.projection = nn.Linear(FEATURES, FEATURES)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Return one vector a caption (B, FEATURES)."""
        device = self.table.weight.device
        rows = [torch.tensor(list(caption.encode("utf-8")) or [0], device=device) for caption in captions]
        averaged: Tensor = self.projection(torch.stack([self.table(row).mean(dim=0) for row in rows]))
        return averaged


class ToyBlock(nn.Module):
    """A convolution and a channel mix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return B,width,h,w."""
        mixed: Tensor = self.mix(torch.relu(self.conv(hidden)).movedim(1, -1))
        return hidden + mixed.movedim(-1, 1)


class ToyDenoiser(nn.Module):
    """Two blocks between two convolutions, told of noise level and caption."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, width, 1)
        self.told = nn.Linear(FEATURES + 1, width)
        self.blocks = nn.ModuleList([ToyBlock(width), ToyBlock(width)])
        self.leave = nn.Conv2d(width, CHANNELS, 1)

    def forward(self, latents: Tensor, sigma: Tensor, pooled: Tensor) -> Tensor:
        """Return B,C,h,w."""
        dtype = self.enter.weight.dtype
        told = self.told(torch.cat([pooled, sigma[:, None].to(pooled.dtype)], dim=1).to(dtype))
        hidden = self.enter(latents.to(dtype)) + told[:, :, None, None]
        for block in self.blocks:
            hidden = block(hidden)
        left: Tensor = self.leave(hidden)
        return left


def build(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, width: int) -> Models:
    """Return the named parts, made from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text, denoiser = ToyText(), ToyDenoiser(width)
    for module in (text, denoiser):
        module.requires_grad_(requires_grad=False).eval().to(device, dtype)
    return Models(
        text={"te1": text} if "text" in parts else {},
        vae=nn.AvgPool2d(PIXELS) if "vae" in parts else None,
        denoiser=denoiser if "denoiser" in parts else None,
        blocks={"unet": tuple(denoiser.blocks)} if "denoiser" in parts else {},
    )


def encode_text(models: Models, captions: Sequence[str]) -> TextConditioning:
    """Return {"pooled": B,FEATURES}."""
    return TextConditioning({"pooled": models.text["te1"](captions)})


def encode_images(models: Models, images: Tensor) -> Latents:
    """Return B,3,H/8,W/8."""
    assert models.vae is not None
    mean = models.vae(images)
    return Latents(mean, torch.full_like(mean, -8.0))


def targets(models: Models) -> list[LoraTarget]:
    """Return the layers with the file keys "lora_te1_projection", "lora_unet_blocks_0_mix", …."""
    found = []
    for part, module in models.text.items():
        assert isinstance(module, ToyText)
        found.append(LoraTarget(f"lora_{part}_projection", (module.projection,), ("projection",), part))
    if models.denoiser is not None:
        for path, layer in models.denoiser.named_modules():
            if path.startswith("blocks.") and isinstance(layer, nn.Linear | nn.Conv2d):
                key, block = "lora_unet_" + path.replace(".", "_"), ".".join(path.split(".")[:2])
                conv = isinstance(layer, nn.Conv2d)
                found.append(LoraTarget(key, (layer,), (path,), "unet", block=block, needs_conv=conv))
    return found
