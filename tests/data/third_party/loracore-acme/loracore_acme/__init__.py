"""The Acme denoiser: patches of a picture that attend to the words of its caption, and predict v."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from loracore import Config, Finding, ModelOptions, NetworkOptions, hookimpl, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from loracore import (
        Batch,
        Latents,
        LoraTarget,
        Models,
        NoisyBatch,
        Part,
        Prediction,
        SampleRng,
        TextConditioning,
    )

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class AcmeOptions:
    """What only Acme has."""

    acme_gamma: Annotated[float, option("min-SNR gamma of the loss weighting; 0 is off", ge=0)] = 5.0
    acme_caption_dropout: Annotated[float, option("share of samples whose caption is hidden", ge=0, le=1)] = 0.0
    acme_mix_dim: Annotated[
        int | None, option("rank in front of the attention layers; 0 leaves them alone", ge=0, network_arg=True)
    ] = None


@hookimpl
def options() -> tuple[type, ...]:
    return (AcmeOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    if config[NetworkOptions].dim_from_weights and config.given("acme_mix_dim"):
        return [Finding("without effect", "acme_mix_dim", "acme_mix_dim: dim_from_weights takes it from the file")]
    if config[ModelOptions].allow_pickle:
        return [Finding("unsupported", "allow_pickle", "an Acme model is a recipe, never a pickle", "leave it out")]
    return []


@hookimpl
def check_models(config: Config) -> None:
    from loracore_acme import models

    models.read_recipe(config[ModelOptions].pretrained_model_name_or_path or "")


@hookimpl
def load_models(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    from loracore_acme import models

    return models.load(parts, device, dtype, config[ModelOptions].pretrained_model_name_or_path or "")


@hookimpl
def encode_text(models: Models, captions: Sequence[str]) -> TextConditioning:
    from loracore_acme import models as acme

    return acme.encode_text(models, captions)


@hookimpl
def encode_images(models: Models, images: Tensor) -> Latents:
    from loracore_acme import models as acme

    return acme.encode_images(models, images)


@hookimpl
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:
    from loracore_acme import models as acme

    return acme.targets(models, config[AcmeOptions].acme_mix_dim)


@hookimpl
def prepare_batch(batch: Batch, rng: SampleRng, training: bool, config: Config) -> Batch:
    from loracore_acme import steps

    return steps.hide_captions(batch, rng, config[AcmeOptions].acme_caption_dropout if training else 0.0)


@hookimpl
def noise_latents(batch: Batch, noise: Tensor, timesteps: Tensor) -> NoisyBatch:
    from loracore_acme import steps

    return steps.noisy(batch, noise, timesteps)


@hookimpl
def predict_noise(models: Models, batch: NoisyBatch) -> Prediction:
    from loracore_acme import steps

    return steps.predict(models, batch)


@hookimpl
def loss_weighting(batch: NoisyBatch, config: Config) -> Tensor:
    from loracore_acme import steps

    return steps.loss_factors(batch, config[AcmeOptions].acme_gamma)


@hookimpl
def file_metadata() -> Mapping[str, str]:
    return {"ss_base_model_version": "acme_v1", "modelspec.architecture": "acme-v1/lora"}
