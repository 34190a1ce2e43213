"""Where a picture's patches lie in the table of positions: the file's own, or one scaled for their resolution."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from diffusers import SD3Transformer2DModel

from loracore import Batch, Config, NoisyBatch, SampleRng, TextConditioning
from loracore.diffusion.positions import check_reach, crop, laid_at, own_table, random_corners, scaled_crop, squares
from loracore_sd3.options import Sd3Options

CORNER = "position_corner"  # beside what text encoders say: where in the table each sample lies (B,2), as for `crop`
_PATCH = 16  # pixels: two latents


def drawn(batch: Batch, rng: SampleRng | None, config: Config) -> Batch:
    """Return the batch with corners drawn; without ``rng`` (outside training) every sample lies in the middle."""
    rate = config[Sd3Options].pos_emb_random_crop_rate
    if rng is None or not rate:
        return batch
    corners = random_corners(rate, rng).to(batch.latents.device)
    return replace(batch, conditioning=TextConditioning({**batch.conditioning.tensors, CORNER: corners}))


def laid(transformer: SD3Transformer2DModel, batch: NoisyBatch, config: Config) -> AbstractContextManager[None]:
    """Lay the patches as the options want, inside this context. Raises DataError beyond the file's table."""
    embedder, latents = transformer.pos_embed, batch.noisy_latents
    corners = batch.batch.conditioning.tensors.get(CORNER)
    size = (latents.shape[-2] // embedder.patch_size, latents.shape[-1] // embedder.patch_size)
    if config[Sd3Options].enable_scaled_pos_embed:
        scaled = scaled_crop(squares(config.datasets, _PATCH), size, transformer.inner_dim, corners, latents.device)
        return laid_at(embedder, scaled, config)
    check_size(transformer, (size[1] * _PATCH, size[0] * _PATCH))
    return nullcontext() if corners is None else laid_at(embedder, crop(own_table(embedder), size, corners), config)


def check_size(transformer: SD3Transformer2DModel, size: tuple[int, int]) -> None:
    """Raise DataError when a picture of ``size`` (width, height) is larger than the file's table."""
    check_reach(transformer.pos_embed, (size[1] // _PATCH, size[0] // _PATCH), _PATCH)
