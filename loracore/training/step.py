"""One micro-batch: Examples → Batch → NoisyBatch → Prediction → loss."""

from __future__ import annotations

from dataclasses import dataclass

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.networks.network import Network
from loracore.noise.rng import SampleRng, derive_seed
from loracore.training.losses import latent_masks, sample_losses
from loracore.types import Batch, Examples, Latents, Models, NoisyBatch, Prediction, TextConditioning

#: Attribute of a subset whose samples the trained model is to draw as the base model does.
PRESERVING = "diff_output_preservation"


@dataclass(frozen=True, eq=False, slots=True)
class Forward:
    """What turns examples into a loss, whatever they are trained with."""

    hook: pluggy.HookRelay
    models: Models
    config: Config
    device: torch.device
    seed: int
    network: Network

    def loss(self, examples: Examples) -> Tensor:
        """Return the weighted losses of the samples, summed (a scalar with a gradient)."""
        batch = self.batch(examples)
        hook, config = self.hook, self.config
        timesteps = hook.draw_timesteps(batch=batch, rng=self._rng("timesteps", examples), config=config)
        noise = hook.draw_noise(batch=batch, rng=self._rng("noise", examples), config=config)
        noisy = hook.noise_latents(batch=batch, noise=noise, timesteps=timesteps, config=config).to(self.device)
        prediction = self._preserving(hook.predict_noise(models=self.models, batch=noisy, config=config), noisy)
        weights = hook.loss_weighting(prediction=prediction, batch=noisy, config=config)
        loss: Tensor = (sample_losses(prediction, noisy.batch.masks) * weights * noisy.batch.loss_weights).sum()
        return loss

    def batch(self, examples: Examples) -> Batch:
        """Return the examples with latents drawn and captions encoded, on the device."""
        latents = _drawn(examples.latents or self._encoded(examples), self._rng("latents", examples))
        masks = examples.masks
        batch = Batch(
            ids=examples.ids,
            captions=examples.captions,
            framings=examples.framings,
            latents=latents,
            conditioning=self._conditioning(examples),
            loss_weights=torch.tensor(examples.loss_weights),
            masks=None if masks is None else latent_masks(masks, *latents.shape[-2:]),
            attributes=examples.attributes,
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

    def _preserving(self, prediction: Prediction, noisy: NoisyBatch) -> Prediction:
        """Return the prediction with what the base model says as the target of those samples that ask for it.

        Their subset has ``custom_attributes = { diff_output_preservation = true }``: the network learns to change
        nothing there.
        """
        wanted = [attributes.get(PRESERVING) is True for attributes in noisy.batch.attributes]
        if not any(wanted):
            return prediction
        with torch.no_grad(), self.network.silenced():
            base = self.hook.predict_noise(models=self.models, batch=noisy, config=self.config)
        chosen = torch.tensor(wanted, device=base.output.device)[:, None, None, None]
        return Prediction(prediction.output, torch.where(chosen, base.output, prediction.target))

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
