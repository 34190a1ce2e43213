"""One micro-batch: Examples → Batch → NoisyBatch → Prediction → loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import LossOptions
from loracore.networks.network import Network
from loracore.noise.rng import SampleRng, derive_seed, sent
from loracore.plugin_faults import wrong_answer
from loracore.training.steps.losses import latent_masks, sample_losses
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

    def losses(self, examples: Examples) -> Tensor:
        """Return the weighted loss of every sample (B), float32, with a gradient."""
        streams = _Streams(self.seed, examples.epoch, examples.positions)
        batch = self._batch(examples, streams, training=True)
        timesteps = self.hook.draw_timesteps(batch=batch, rng=streams["timesteps"], config=self.config)
        return self._losses_at(batch, timesteps, streams)

    @torch.no_grad()
    def validation_batch(self, examples: Examples) -> ValidationBatch:
        """Return the examples encoded once, to be looked at under several timesteps, always with the same draws.

        These depend on the seed and the samples' positions alone, and come from streams of their own: training never
        notices.
        """
        streams = _Streams(self.seed, 0, examples.positions, "validation/")
        batch = self._batch(examples, streams, training=False)
        drawn = self.hook.draw_timesteps(batch=batch, rng=streams["timesteps"], config=self.config)
        return ValidationBatch(batch, drawn, streams)

    @torch.no_grad()
    def validation_losses(self, prepared: ValidationBatch, timestep: float) -> Tensor:
        """Return what `losses` would at this timestep (B), on the architecture's own scale, without a gradient."""
        timesteps = torch.full_like(prepared.timesteps, timestep)
        return self._losses_at(prepared.batch, timesteps, prepared.streams)

    def _losses_at(self, batch: Batch, timesteps: Tensor, streams: _Streams) -> Tensor:
        hook, config = self.hook, self.config
        noise = hook.draw_noise(batch=batch, rng=streams["noise"], config=config)
        rng = streams["perturbation"]
        noisy = hook.noise_latents(batch=batch, noise=noise, timesteps=timesteps, rng=rng, config=config)
        noisy = noisy.to(self.device)
        prediction = self._preserving(hook.predict_noise(models=self.models, batch=noisy, config=config), noisy)
        weights = self._weights(prediction, noisy)
        losses: Tensor = sample_losses(prediction, noisy, config[LossOptions]) * weights * noisy.batch.loss_weights
        return losses

    def _weights(self, prediction: Prediction, noisy: NoisyBatch) -> Tensor:
        """Return the factors (B) of ``loss_weighting``: others would be broadcast, or fail far from who gives them."""
        weights = self.hook.loss_weighting(prediction=prediction, batch=noisy, config=self.config)
        count = len(noisy.noisy_latents)
        if isinstance(weights, Tensor) and weights.shape == (count,):
            return weights
        given = f"a tensor of shape {tuple(weights.shape)}" if isinstance(weights, Tensor) else type(weights).__name__
        fix = f"return a tensor of shape ({count},): one factor a sample"
        raise wrong_answer(self.hook.loss_weighting, f"gives {given} for {count} samples as its answer to", fix)

    def _batch(self, examples: Examples, streams: _Streams, *, training: bool) -> Batch:
        """Return the examples with latents drawn and captions encoded, on the device."""
        latents = _drawn(examples.latents or self._encoded(examples), streams["latents"])
        masks = examples.masks
        batch = Batch(
            ids=examples.ids,
            captions=examples.captions,
            framings=examples.framings,
            latents=latents,
            conditioning=self.conditioning(examples.captions, examples.conditioning),
            loss_weights=torch.tensor(examples.loss_weights),
            masks=None if masks is None else latent_masks(masks, *latents.shape[-2:]),
            attributes=examples.attributes,
        ).to(self.device)
        rng = streams["prepare"]
        prepared: Batch = self.hook.prepare_batch(batch=batch, rng=rng, training=training, config=self.config)
        return prepared.to(self.device)

    def seed_model(self, step: int, micro: int) -> None:
        """Seed what models draw inside themselves: the same for a step whether or not the run was resumed before it."""
        seed = derive_seed(self.seed, "model", step, micro)
        # Not torch.manual_seed: for every kind of card that is not there it formats a stack, a quarter of a ms in all.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def adapter_rng(self, examples: Examples) -> SampleRng:
        """Return the randomness of the adapters' masks."""
        return _Streams(self.seed, examples.epoch, examples.positions)["adapters"]

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
        chosen = sent(torch.tensor(wanted), base.output.device)[:, None, None, None]
        return Prediction(prediction.output, torch.where(chosen, base.output, prediction.target))

    def conditioning(self, captions: Sequence[str], cached: TextConditioning | None) -> TextConditioning:
        """Return what the cache holds of captions (B), and beside it what the training text encoders say now.

        On the device, but for what the cache holds alone.
        """
        if cached is not None and not self.models.text:
            return cached
        live = self.hook.encode_text(models=self.models, captions=captions, config=self.config)
        known = {} if cached is None else cached.to(self.device).tensors
        return TextConditioning({**known, **live.to(self.device).tensors})

    def _encoded(self, examples: Examples) -> Latents:
        assert examples.images is not None
        with torch.no_grad():
            images = examples.images.to(self.device)
            latents: Latents = self.hook.encode_images(models=self.models, images=images, config=self.config)
        return latents.to("cpu")


@dataclass(frozen=True, slots=True)
class _Streams:
    """The random streams of one micro-batch, each made when it is asked for."""

    seed: int
    epoch: int
    positions: tuple[int, ...]
    family: str = ""  # in front of every name

    def __getitem__(self, name: str) -> SampleRng:
        return SampleRng(self.seed, f"{self.family}{name}", self.epoch, self.positions)


@dataclass(frozen=True, eq=False, slots=True)
class ValidationBatch:
    """Held-out examples, encoded, and where what is drawn for them comes from."""

    batch: Batch
    timesteps: Tensor  # B: as the architecture draws them, for their type and place alone
    streams: _Streams


def _drawn(latents: Latents, rng: SampleRng) -> Tensor:
    """Draw from the VAE's distribution: mean + exp(½ log-variance) · normal (Kingma and Welling 2014, eq. 10)."""
    deviation = (0.5 * latents.log_variance.float()).exp()
    return latents.mean.float() + deviation * rng.normal(*latents.mean.shape[1:])
