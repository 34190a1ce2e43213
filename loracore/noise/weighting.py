"""Loss factors over noise levels for denoisers of DDPM; pure functions of the signal-to-noise ratio (B)."""

from __future__ import annotations

from torch import Tensor

#: Beyond these, weights that divide by the ratio, or by its root, stop growing.
LARGEST_SNR = 1000.0
LEAST_SNR = 1e-4


def min_snr_gamma(snr: Tensor, gamma: float, *, predicts_v: bool) -> Tensor:
    """Return min(SNR, γ)/SNR, or min(SNR, γ)/(SNR+1) for v (Hang et al. 2023, section 3.4); 1 at SNR 0 for noise."""
    if predicts_v:
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1)


def noise_like_v(snr: Tensor) -> Tensor:
    """Return SNR/(SNR+1), which weights the loss of v over noise levels as that of noise."""
    bounded = snr.clamp(max=LARGEST_SNR)
    return bounded / (bounded + 1)


def v_like_noise(snr: Tensor, share: float) -> Tensor:
    """Return 1 + share·(SNR+1)/SNR: the loss of noise, and that share of it weighted as for v."""
    return 1 + share / noise_like_v(snr.clamp(min=LEAST_SNR))


def debiased_estimation(snr: Tensor, *, predicts_v: bool) -> Tensor:
    """Return 1/sqrt(SNR), or 1/(SNR+1) for v (Yu et al. 2023, "Debias the Training of Diffusion Models")."""
    bounded = snr.clamp(min=LEAST_SNR, max=LARGEST_SNR)
    return 1 / (bounded + 1) if predicts_v else bounded.rsqrt()
