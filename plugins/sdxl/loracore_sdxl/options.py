"""The options of this architecture alone, and what is said of them before anything is loaded; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from loracore import Config, Finding, NetworkOptions, TrainingOptions, option
from loracore.diffusion.files.base_model import file_findings, model_findings
from loracore.diffusion.files.model_marks import mark_findings
from loracore.diffusion.findings import idle, surplus_rates, unsupported
from loracore.diffusion.options import clip_text_findings, ddpm_findings
from loracore.diffusion.pictures.picture_sizes import size_findings
from loracore.diffusion.pictures.preview_findings import ddpm_preview_findings
from loracore_sdxl import recognition

#: Pictures come in multiples of it: the U-Net halves the latents twice, and a latent is 8 pixels wide.
STEP = 32
_UNSUPPORTED = {
    "v2": "means Stable Diffusion 2, not SDXL; of an SDXL model that predicts v, v_parameterization says all"
}


@dataclass(frozen=True, slots=True)
class SdxlOptions:
    """Text encoder 1 is CLIP ViT-L, text encoder 2 is OpenCLIP ViT-bigG."""

    text_encoder_lr1: Annotated[
        float | None, option("learning rate of text encoder 1 (CLIP-L) (unset: text_encoder_lr)", ge=0)
    ] = None
    text_encoder_lr2: Annotated[
        float | None, option("learning rate of text encoder 2 (OpenCLIP-G) (unset: text_encoder_lr)", ge=0)
    ] = None
    size_ids: Annotated[
        Literal["crop", "contain"],
        option("sizes told to the U-Net: the crop that was really cut, or sd-scripts' fit of the whole picture"),
    ] = "crop"
    clip_skip: Annotated[int | None, option("of Stable Diffusion 1; without effect here", ge=1)] = None
    v2: Annotated[bool, option("the base model is Stable Diffusion 2; not this architecture")] = False


def findings(config: Config) -> Iterator[Finding]:
    """Give everything that is wrong, unsupported or without effect in a run's options."""
    wrong = tuple(model_findings(config, recognition))
    yield from wrong or mark_findings(config)
    yield from file_findings(config, {})
    yield from unsupported(config, _UNSUPPORTED)
    yield from idle(config, {"clip_skip": "SDXL always takes the last hidden state but one of both text encoders"})
    yield from _rate_findings(config)
    yield from ddpm_findings(config)
    yield from clip_text_findings(config)
    yield from size_findings(config, STEP)
    yield from ddpm_preview_findings(config)


def _rate_findings(config: Config) -> Iterator[Finding]:
    if not config[NetworkOptions].network_train_unet_only:
        yield from _shared_rate_findings(config)
        return
    for name in ("text_encoder_lr1", "text_encoder_lr2"):
        if config.given(name):
            message = f"{name} has no effect: network_train_unet_only trains no text encoder"
            yield Finding("without effect", name, message)


def _shared_rate_findings(config: Config) -> Iterator[Finding]:
    """Give the values of ``text_encoder_lr`` that are of no encoder, each having a rate of its own."""
    options, shared = config[SdxlOptions], config[TrainingOptions].text_encoder_lr
    own = (options.text_encoder_lr1, options.text_encoder_lr2)
    if shared and None not in own:
        message = "text_encoder_lr has no effect: text_encoder_lr1 and text_encoder_lr2 say both encoders' rates"
        yield Finding("without effect", "text_encoder_lr", message)
        return
    yield from surplus_rates(config, 2, "SDXL has two")
    if len(shared) == 1:  # is of the encoder that has none
        return
    for number, (rate, mine) in enumerate(zip(shared, own, strict=False), start=1):
        if mine is not None:
            message = f"text_encoder_lr: {rate:g} has no effect: text_encoder_lr{number} is that encoder's rate"
            yield Finding("without effect", "text_encoder_lr", message)
