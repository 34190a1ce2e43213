"""The options of this architecture, what is said of them before anything is loaded, and in files; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, hookimpl, option
from loracore.diffusion.files.base_model import file_findings, model_findings
from loracore.diffusion.files.model_marks import mark_findings
from loracore.diffusion.findings import surplus_rates, unsupported
from loracore.diffusion.options import DdpmOptions, clip_text_findings, ddpm_findings
from loracore.diffusion.pictures.picture_sizes import size_findings
from loracore.diffusion.pictures.preview_findings import ddpm_preview_findings
from loracore_sd15 import recognition


@dataclass(frozen=True, slots=True)
class Sd15Options:
    """The text encoder is CLIP ViT-L."""

    clip_skip: Annotated[int | None, option("layer to stop at, 1 is the last", ge=1, le=12, affects={"text"})] = None
    v2: Annotated[bool, option("the base model is Stable Diffusion 2; not this architecture")] = False


@hookimpl
def check_options(config: Config) -> tuple[Finding, ...]:
    """Return what is wrong, unsupported or without effect, the model file's header included."""
    return (
        *(tuple(model_findings(config, recognition)) or mark_findings(config)),
        *file_findings(config, {}),
        *unsupported(config, {"v2": "means Stable Diffusion 2, not 1"}),
        *surplus_rates(config, 1, "Stable Diffusion 1 has one, not several,"),
        *ddpm_findings(config),
        *clip_text_findings(config),
        *size_findings(config, step=64),  # the U-Net halves latents of 8 pixels three times
        *ddpm_preview_findings(config),
    )


@hookimpl
def file_metadata(config: Config) -> Mapping[str, str]:
    """Return what tells the field's tools which base model a file is for."""
    recorded = ("v2", "clip_skip", "max_token_length", "min_snr_gamma", "zero_terminal_snr", "debiased_estimation_loss")
    given, ddpm = dict(config), config[DdpmOptions]
    return {
        **{f"ss_{name.removesuffix('_loss')}": str(given[name]) for name in recorded},
        "ss_base_model_version": "sd_v1_v" if ddpm.v_parameterization else "sd_v1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.prediction_type": "v" if ddpm.v_parameterization else "epsilon",
    }
