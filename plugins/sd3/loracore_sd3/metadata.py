"""What this architecture writes into a LoRA file's header, so that the field's tools know what the file is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from diffusers import SD3Transformer2DModel

from loracore import Config, Models
from loracore.diffusion.options import FlowOptions
from loracore.weights.options import MergeOptions
from loracore_sd3.options import Sd3Options

_ORIGINAL = "https://github.com/Stability-AI/sd3-ref"  # of checkpoints; the field's LoRA files say "diffusers"
_PLACES = ("clip_l", "clip_g", "t5xxl", "t5xxl_device", "save_clip", "save_t5xxl")  # not written, and never on:
_OFF = ("v_parameterization", "weighted_captions")


def of(models: Models, config: Config) -> Mapping[str, str]:
    """Return the ``ss_*`` and ``modelspec.*`` entries that the architecture answers for."""
    assert isinstance(models.denoiser, SD3Transformer2DModel)  # steps of every run need it
    newer = "5-medium" if models.denoiser.config.dual_attention_layers else "5-large"
    name = "medium" if models.denoiser.config.qk_norm is None else newer
    options = asdict(config[Sd3Options]) | asdict(config[FlowOptions])
    return {
        **{f"ss_{option}": str(value) for option, value in options.items() if option not in (*_PLACES, *_OFF)},
        "ss_base_model_version": name,
        "modelspec.architecture": f"stable-diffusion-3-{name}/lora",
        "modelspec.implementation": _ORIGINAL if MergeOptions in config else "diffusers",
        "modelspec.prediction_type": "epsilon",  # the field's word: the specification has none for flow matching
    }
