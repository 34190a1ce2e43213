"""The transformer with scaled positions against the field's own trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3 import noise
from loracore_sd3.names import transformer_names
from loracore_sd3.recognition import UNET
from safetensors.torch import load_file
from torch import Tensor

from loracore import Batch, Config, Models, NoisyBatch, TextConditioning
from loracore.config.dataset_spec import DatasetSpec
from tests.plugins.sd3.runs import config_of


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(Path(__file__).parents[2] / "data" / "forward-sd3.safetensors")


@pytest.fixture(scope="module")
def models() -> Models:
    tensors = load_file(Path(__file__).parents[2] / "data" / "tiny-sd3-mmdit.safetensors")
    transformer = SD3Transformer2DModel(
        num_layers=2,
        num_attention_heads=2,
        joint_attention_dim=96,
        caption_projection_dim=128,
        pooled_projection_dim=64,
        pos_embed_max_size=12,
    )
    places = transformer_names(transformer)
    transformer.load_state_dict(
        {key: place.from_file(tensors[UNET + place.name].float()) for key, place in places.items()}
    )
    return Models(denoiser=transformer.eval().requires_grad_(requires_grad=False))


def velocity(models: Models, golden: dict[str, Tensor], config: Config) -> Tensor:
    """What the transformer said, from the picture that it leads to."""
    said = TextConditioning({"context": golden["in.context"], "pooled": golden["in.pooled"]})
    latents, timesteps = golden["in.latent"], golden["in.timestep"]
    batch = Batch(("", ""), ("", ""), (), latents, said, torch.ones(2))
    noisy = NoisyBatch(batch, torch.zeros_like(latents), latents, timesteps, torch.ones(2))
    return latents - noise.predict(models, noisy, config).output


def squares(*sides: int) -> list[DatasetSpec]:
    return [DatasetSpec((side, side), 1, True, 256, 1024, 64, False, ()) for side in sides]


def test_files_own_positions_give_the_references_answer(models: Models, golden: dict[str, Tensor]) -> None:
    torch.testing.assert_close(velocity(models, golden, config_of()), golden["sd3.out"], rtol=1e-5, atol=1e-5)


def test_scaled_positions_give_the_references_answer(models: Models, golden: dict[str, Tensor]) -> None:
    config = config_of(enable_scaled_pos_embed=True).with_datasets(squares(128, 192))  # latents of 16 and 24 a side
    found = velocity(models, golden, config)
    torch.testing.assert_close(found, golden["sd3.out_scaled_pos_16_24"], rtol=1e-5, atol=1e-5)
    assert (found - golden["sd3.out"]).abs().max() > 0.01
