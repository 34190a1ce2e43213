from __future__ import annotations

import numpy as np
import pytest
import torch

from loracore.diffusion.vae import decode_latents, downscaling, encode_pictures
from loracore.testing import tiny_models

IMAGES = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_latents_are_the_vaes_scaled() -> None:
    vae = tiny_models.vae(scale=0.5)
    with torch.no_grad():
        latents, spread = encode_pictures(vae, IMAGES), vae.encode(IMAGES).latent_dist
    assert latents.mean.shape == (2, 4, 2, 4)
    torch.testing.assert_close(latents.mean, spread.mean * 0.5)
    torch.testing.assert_close((latents.log_variance / 2).exp(), spread.std * 0.5)


def test_decoding_undoes_the_scaling() -> None:
    vae = tiny_models.vae(scale=0.5)
    latents = torch.randn(1, 4, 2, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (picture,) = decode_latents(vae, latents)
        pixels = vae.decode(latents / 0.5).sample[0].permute(1, 2, 0)
    expected = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().numpy()
    assert picture.size == (32, 16)
    np.testing.assert_array_equal(np.asarray(picture), expected.astype(np.uint8))


def test_vae_that_overflows_in_half_precision_decodes_in_float32_and_is_left_as_it_was() -> None:
    vae = tiny_models.vae().to(torch.float16)
    with torch.no_grad():
        decode_latents(vae, torch.zeros(1, 4, 2, 4))
    assert vae.dtype == torch.float16


@pytest.mark.parametrize(("levels", "pixels"), [(2, 2), (4, 8)])
def test_pixels_of_a_latent_follow_from_the_levels(levels: int, pixels: int) -> None:
    assert downscaling(tiny_models.vae((8,) * levels)) == pixels
