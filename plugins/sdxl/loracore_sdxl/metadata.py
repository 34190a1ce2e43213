"""What this architecture writes into a LoRA file's header, so that the field's tools know what the file is for."""

from __future__ import annotations

from collections.abc import Mapping

from loracore import Config
from loracore.diffusion.options import ClipTextOptions, DdpmOptions
from loracore_sdxl.options import SdxlOptions


def of(config: Config) -> Mapping[str, str]:
    """Return the ``ss_*`` and ``modelspec.*`` entries that the architecture answers for."""
    ddpm = config[DdpmOptions]
    return {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_v2": "False",
        "ss_clip_skip": str(config[SdxlOptions].clip_skip),
        "ss_max_token_length": str(config[ClipTextOptions].max_token_length),
        "ss_min_snr_gamma": str(ddpm.min_snr_gamma),
        "ss_zero_terminal_snr": str(ddpm.zero_terminal_snr),
        "ss_debiased_estimation": str(ddpm.debiased_estimation_loss),
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if ddpm.v_parameterization else "epsilon",
    }
