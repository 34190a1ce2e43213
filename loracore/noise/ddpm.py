"""The noise schedule of DDPM with betas linear in their square root, and what follows from it; pure functions.

Every function works in float32 on the device that it is given, so that a training step copies nothing from the host.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Of latent diffusion (Rombach et al. 2022): 1000 steps from the first to the last beta.
STEPS = 1000
FIRST_BETA = 0.00085
LAST_BETA = 0.012

#: Stands in for a share of the picture of zero, where something is divided by it.
_LEAST_SHARE = 1e-8


def scaled_linear_betas(device: torch.device | str = "cpu") -> Tensor:
    """Return the betas (1000): squares of numbers that rise evenly from the first's root to the last's."""
    return torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, STEPS, dtype=torch.float32, device=device) ** 2


def zero_terminal_snr_betas(betas: Tensor) -> Tensor:
    """Return betas whose last step leaves nothing of the picture, and whose first is unchanged.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
    """
    roots = (1 - betas).cumprod(0).sqrt()
    first, last = roots[0], roots[-1]
    shares = ((roots - last) * (first / (first - last))) ** 2
    kept = torch.cat([shares[:1], shares[1:] / shares[:-1]])
    return 1 - kept


def picture_shares(*, zero_terminal_snr: bool = False, device: torch.device | str = "cpu") -> Tensor:
    """Return the share of the picture's variance at every timestep (1000): ᾱ, the product of 1 - β."""
    betas = scaled_linear_betas(device)
    return (1 - (zero_terminal_snr_betas(betas) if zero_terminal_snr else betas)).cumprod(0)


def noise_level(shares: Tensor) -> Tensor:
    """Return sigma, noise against picture: sqrt((1-ᾱ)/ᾱ); 10^4 where nothing of the picture is left."""
    return ((1 - shares) / shares.clamp(min=_LEAST_SHARE)).sqrt()


def signal_to_noise(sigma: Tensor) -> Tensor:
    """Return the signal-to-noise ratio ᾱ/(1-ᾱ) = 1/sigma²; 10^-8 where nothing of the picture is left."""
    return sigma**-2


def shares_at(sigma: Tensor) -> Tensor:
    """Return the share of the picture's variance at noise levels: 1/(1+sigma²), 0 where ``noise_level`` had none."""
    shares = 1 / (1 + sigma**2)
    return shares * (shares > 2 * _LEAST_SHARE)


def add_noise(latents: Tensor, noise: Tensor, shares: Tensor) -> Tensor:
    """Return sqrt(ᾱ)·latents + sqrt(1-ᾱ)·noise (B,C,h,w) for shares (B) (Ho et al. 2020, equation 4)."""
    share = shares[:, None, None, None]
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def velocity(latents: Tensor, noise: Tensor, shares: Tensor) -> Tensor:
    """Return v = sqrt(ᾱ)·noise - sqrt(1-ᾱ)·latents (B,C,h,w) for shares (B) (Salimans and Ho 2022, appendix D)."""
    share = shares[:, None, None, None]
    return share.sqrt() * noise - (1 - share).sqrt() * latents
