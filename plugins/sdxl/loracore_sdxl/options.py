"""The options of this architecture alone, and what is said of them before anything is loaded; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from loracore import Config, DataError, Finding, ModelOptions, NetworkOptions, TrainingOptions, option
from loracore.diffusion.folders import LocalFolder, given_path, looks_like_hub_id
from loracore.diffusion.options import DdpmOptions, clip_text_findings, ddpm_findings
from loracore_sdxl import recognition

if TYPE_CHECKING:
    from pathlib import Path

_TEXT_ENCODERS = 2


@dataclass(frozen=True, slots=True)
class SdxlOptions:
    """Text encoder 1 is CLIP ViT-L, text encoder 2 is OpenCLIP ViT-bigG."""

    text_encoder_lr1: Annotated[
        float | None, option("learning rate of text encoder 1 (CLIP-L) (unset: text_encoder_lr)", ge=0)
    ] = None
    text_encoder_lr2: Annotated[
        float | None, option("learning rate of text encoder 2 (OpenCLIP-G) (unset: text_encoder_lr)", ge=0)
    ] = None
    no_half_vae: Annotated[
        bool, option("run the VAE in float32; in fp16 the original VAE overflows", affects={"latents"})
    ] = False
    size_ids: Annotated[
        Literal["crop", "contain"],
        option("sizes told to the U-Net: the crop that was really cut, or sd-scripts' fit of the whole picture"),
    ] = "crop"
    clip_skip: Annotated[int | None, option("of Stable Diffusion 1; without effect here", ge=1)] = None
    v2: Annotated[bool, option("the base model is Stable Diffusion 2; not this architecture")] = False


def findings(config: Config) -> Iterator[Finding]:
    """Give everything that is wrong, unsupported or without effect in a run's options."""
    yield from _model_findings(config)
    yield from _foreign_findings(config)
    yield from _rate_findings(config)
    yield from ddpm_findings(config)
    yield from clip_text_findings(config)


def _model_findings(config: Config) -> Iterator[Finding]:
    given = config[ModelOptions].pretrained_model_name_or_path
    if given is None:
        return
    path, place = given_path(given), "pretrained_model_name_or_path"
    try:
        if path.is_file():
            recognition.check_file(path, allow_pickle=config[ModelOptions].allow_pickle)
            yield from _mark_findings(path, config)
        elif path.is_dir():
            recognition.check_folder(LocalFolder(path))
    except DataError as error:
        for problem in error.problems:
            yield Finding(
                "wrong",
                place,
                problem.message if problem.where == "" else f"{problem.where}: {problem.message}",
                problem.fix,
            )
        return
    if not path.exists() and not looks_like_hub_id(given):
        fix = "give a .safetensors checkpoint, a folder in the diffusers layout, or a hub id owner/name"
        yield Finding("wrong", place, f"no such file or folder: {given}", fix)


def _mark_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Give the marks in a checkpoint that the options contradict."""
    ddpm = config[DdpmOptions]
    needed = {"v_pred": ("v_parameterization", ddpm.v_parameterization)}
    needed["ztsnr"] = ("zero_terminal_snr", ddpm.zero_terminal_snr)
    for mark in sorted(recognition.marks(path)):
        option_name, is_on = needed[mark]
        if not is_on:
            message = f"the checkpoint is marked '{mark}', but {option_name} is off"
            yield Finding("without effect", option_name, message, f"add {option_name}")


def _foreign_findings(config: Config) -> Iterator[Finding]:
    own = config[SdxlOptions]
    if own.v2:
        message = "v2 means Stable Diffusion 2, whose text encoder and U-Net are not those of SDXL"
        yield Finding(
            "unsupported",
            "v2",
            message,
            "leave it out; for an SDXL model that predicts v, v_parameterization is enough",
        )
    if own.clip_skip is not None:
        message = "clip_skip has no effect: SDXL always takes the last hidden state but one of both text encoders"
        yield Finding("without effect", "clip_skip", message)


def _rate_findings(config: Config) -> Iterator[Finding]:
    if not config[NetworkOptions].network_train_unet_only:
        yield from _shared_rate_findings(config)
        return
    for name in ("text_encoder_lr1", "text_encoder_lr2"):
        if config.given(name):
            message = f"{name} has no effect: network_train_unet_only trains no text encoder"
            yield Finding("without effect", name, message)


def _shared_rate_findings(config: Config) -> Iterator[Finding]:
    own, shared = config[SdxlOptions], config[TrainingOptions].text_encoder_lr
    if shared and own.text_encoder_lr1 is not None and own.text_encoder_lr2 is not None:
        message = "text_encoder_lr has no effect: text_encoder_lr1 and text_encoder_lr2 say both encoders' rates"
        yield Finding("without effect", "text_encoder_lr", message)
    elif len(shared) > _TEXT_ENCODERS:
        unused = ", ".join(str(rate) for rate in shared[_TEXT_ENCODERS:])
        message = f"text_encoder_lr has {len(shared)} values, but SDXL has two text encoders: {unused} has no effect"
        yield Finding("without effect", "text_encoder_lr", message)
