"""Keep encoded scenes with their captions to train from, and always replace a part of them by new ones."""

import random
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from loracore.testing.scenes import draw, random_scene
from make_demo.captions import training_caption
from make_demo.pictures import SIDE, as_signal, stacked
from make_demo.vae import scaled_latents

RENEWED = 64  # pictures at a time


@dataclass(slots=True)
class Pool:
    """Hold the latents' distributions and the captions."""

    means: Tensor  # N,C,16,16, scaled
    spreads: Tensor
    captions: list[str]

    def renew(self, vae: AutoencoderKL, rng: random.Random) -> None:
        """Replace some pictures by newly drawn ones."""
        fresh = encoded_pool(vae, RENEWED, rng)
        for row, place in enumerate(rng.sample(range(len(self.captions)), RENEWED)):
            self.means[place], self.spreads[place] = fresh.means[row], fresh.spreads[row]
            self.captions[place] = fresh.captions[row]

    def draw(self, size: int) -> tuple[Tensor, list[str]]:
        """Draw latents B,C,16,16 and captions at random."""
        rows = torch.randint(len(self.captions), (size,))
        latents = self.means[rows] + self.spreads[rows] * torch.randn(size, *self.means.shape[1:])
        return latents, [self.captions[row] for row in rows.tolist()]


@torch.no_grad()
def encoded_pool(vae: AutoencoderKL, count: int, rng: random.Random) -> Pool:
    """Draw and encode count captioned scenes."""
    scenes = [random_scene(rng) for _ in range(count)]
    batches = [as_signal(stacked([draw(scene, SIDE) for scene in scenes[at : at + 32]])) for at in range(0, count, 32)]
    found = [scaled_latents(vae, batch) for batch in batches]
    means, spreads = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Pool(means, spreads, [training_caption(scene, rng) for scene in scenes])
