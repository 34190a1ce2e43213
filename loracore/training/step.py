"""One micro-batch: Examples → Batch → NoisyBatch → Prediction → loss."""

from __future__ import annotations

from dataclasses import dataclass

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.noise.rng import SampleRng, derive_seed
from loracore.training.losses import sample_losses
from loracore.types import Batch, Examples, Latents, Models, TextConditioning


@dataclass(frozen=True, eq=False, slots=True)
class Forward:
    """What turns examples into a loss, whatever they are trained with."""

    hook: pluggy.HookRelay
    models: Models
    config: Config
    device: torch.device
    seed: int

    def loss(self, examples: Examples) -> Tensor:
        """Return the weighted losses of the samples, summed (a scalar with a gradient)."""
        batch = self.batch(examples)
        hook, config = self.hook, self.config
        timesteps = hook.draw_timesteps(batch=batch, rng=self._rng("timesteps", examples), config=config)
        noise = hook.draw_noise(batch=batch, rng=self._rng("noise", examples), config=config)
        noisy = hook.noise_latents(batch=batch, noise=noise, timesteps=timesteps, config=config).to(self.device)
        prediction = hook.predict_noise(models=self.models, batch=noisy, config=config)
        weights = hook.loss_weighting(prediction=prediction, batch=noisy, config=config)
        loss: Tensor = (sample_losses(prediction) * weights * noisy.batch.loss_weights).sum()
        return loss

    def batch(self, examples: Examples) -> Batch:
        """Return the examples with latents drawn and captions encoded, on the device."""
        latents = examples.latents or self._encoded(examples)
        batch = Batch(
            ids=examples.ids,
            captions=examples.captions,
            framings=examples.framings,
            latents=_drawn(latents, self._rng("latents", examples)),
            conditioning=self._conditioning(examples),
            loss_weights=torch.tensor(examples.loss_weights),
        ).to(self.device)
        rng = self._rng("prepare", examples)
        prepared: Batch = self.hook.prepare_batch(batch=batch, rng=rng, training=True, config=self.config)
        return prepared.to(self.device)

    def seed_model(self, step: int, micro: int) -> None:
        """Seed what models draw inside themselves: the same for a step whether or not the run was resumed before it."""
        torch.manual_seed(derive_seed(self.seed, "model", step, micro))

    def adapter_rng(self, examples: Examples) -> SampleRng:
        """Return the randomness of the adapters' masks."""
        return self._rng("adapters", examples)

    def _conditioning(self, examples: Examples) -> TextConditioning:
        """Return what the cache holds, and beside it what the training text encoders say now."""
        cached = examples.conditioning
        if cached is not None and not self.models.text:
            return cached
        live = self.hook.encode_text(models=self.models, captions=examples.captions, config=self.config)
        known = {} if cached is None else cached.to(self.device).tensors
        return TextConditioning({**known, **live.to(self.device).tensors})

    def _encoded(self, examples: Examples) -> Latents:
        assert examples.images is not None
        with torch.no_grad():
            images = examples.images.to(self.device)
            latents: Latents = self.hook.encode_images(models=self.models, images=images, config=self.config)
        return latents.to("cpu")

    def _rng(self, stream: str, examples: Examples) -> SampleRng:
        return SampleRng(self.seed, stream, examples.epoch, examples.positions)


def _drawn(latents: Latents, rng: SampleRng) -> Tensor:
    """Draw from the VAE's distribution: mean + exp(½ log-variance) · normal (Kingma and Welling 2014, eq. 10)."""
    deviation = (0.5 * latents.log_variance.float()).exp()
    return latents.mean.float() + deviation * rng.normal(*latents.mean.shape[1:])
