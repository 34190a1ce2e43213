"""The transformer's prediction; timesteps, noise and weights are those of every flow model."""

from __future__ import annotations

from diffusers import SD3Transformer2DModel

from loracore import Config, Models, NoisyBatch, Prediction
from loracore.diffusion.files.precision import compute_dtype
from loracore.noise import flow
from loracore_sd3 import positions
from loracore_sd3.text import assembled


def predict(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the picture's latents that the transformer's velocity leads to, beside the real ones; float32."""
    transformer = models.denoiser
    assert isinstance(transformer, SD3Transformer2DModel)
    said = assembled(batch.batch.conditioning, transformer.config.joint_attention_dim)
    dtype = compute_dtype(transformer)
    with positions.laid(transformer, batch, config):
        velocity = transformer(
            hidden_states=batch.noisy_latents.to(dtype),
            timestep=batch.timesteps.float(),
            encoder_hidden_states=said["context"].to(dtype),
            pooled_projections=said["pooled"].to(dtype),
            return_dict=False,
        )[0]
    return Prediction(flow.picture_of(batch.noisy_latents, velocity.float(), batch.sigma), batch.batch.latents)
