"""What stands for VAE and text encoders in the process of diffusers' script: they say what the work's caches hold.

Everything is on the device from the start and is handed out without being computed, so that of the script's own step
nothing but what encoders take is missing. A peer's process has no loracore.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.draws import Draws

_SCALE = 0.13025  # of SDXL's latents, which the script multiplies by


class Pictures:
    """The work's pictures in its order, batch behind batch, whatever the script has read."""

    def __init__(self, folder: Path, order: list[str], batch: int, draws: Draws) -> None:
        self.folder = folder
        self.stems = list(dict.fromkeys(order))
        self.rows = [self.stems.index(stem) for stem in order]
        self.batch = batch
        self.draws = draws

    def stored(self, ending: str, name: str) -> Tensor:
        """Return one array of each picture's file with this ending, stacked in the order of ``stems``."""
        found = []
        for stem in self.stems:
            (path,) = self.folder.glob(f"{stem}*{ending}")
            with np.load(path) as arrays:
                found.append(torch.from_numpy(arrays[name]).float())
        return torch.stack(found)

    def of_this_step(self, stored: Tensor) -> Tensor:
        """Return the rows that the step's pictures have in ``stored``; the device is not waited for."""
        first = self.draws.step * self.batch
        return torch.stack([stored[row] for row in self.rows[first : first + self.batch]])


class IdleVae(nn.Module):
    """Begins a step, and says its latents; the picture is looked at for the device alone."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__()
        self.pictures = pictures
        self.config = SimpleNamespace(scaling_factor=_SCALE)
        self.register_buffer("latents", pictures.stored("_sdxl.npz", "latents"))

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        """Return what the script takes a sample from."""
        self.pictures.draws.next_step(pixels.device)
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=self._sample))

    def _sample(self) -> Tensor:
        return self.pictures.of_this_step(self.get_buffer("latents"))


class IdleEncoder(nn.Module):
    """Says the captions of the step's pictures, in the dtype that it was cast to."""

    def __init__(self, pictures: Pictures, hidden: str) -> None:
        super().__init__()
        self.pictures = pictures
        self.register_buffer("hidden", pictures.stored("_te_outputs.npz", hidden))
        self.register_buffer("pooled", pictures.stored("_te_outputs.npz", "pool2"))

    @property
    def device(self) -> torch.device:
        return self.get_buffer("hidden").device

    def forward(self, _tokens: Tensor, **_: object) -> tuple[Tensor, tuple[Tensor, None]]:
        """Return the pooled state, and hidden states of which the script takes the last but one."""
        pooled, hidden = (self.pictures.of_this_step(self.get_buffer(name)) for name in ("pooled", "hidden"))
        return pooled, (hidden, None)
