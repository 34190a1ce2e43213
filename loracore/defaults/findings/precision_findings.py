"""What contradicts precision and memory options, or is without effect under them."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, ModelOptions
from loracore.config.config import Config


def precision_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect of full_fp16, full_bf16, base_model_precision and lowram."""
    model = config[ModelOptions]
    if model.base_model_precision != "given" and (model.fp8_base or model.fp8_base_unet):
        other = "fp8_base" if model.fp8_base else "fp8_base_unet"
        message = f"base_model_precision and {other} both say how the denoiser's weights are stored"
        yield Finding("wrong", "base_model_precision", message, "drop one of them")
    if model.full_fp16 and model.full_bf16:
        message = "full_fp16 and full_bf16 contradict each other"
        yield Finding("wrong", "full_fp16", message, "drop one of them")
    wanted = {"full_fp16": (model.full_fp16, "fp16"), "full_bf16": (model.full_bf16, "bf16")}
    for name, (given, precision) in wanted.items():
        if given and model.mixed_precision != precision:
            message = f'{name} needs mixed_precision = "{precision}", not "{model.mixed_precision}"'
            yield Finding("wrong", name, message, f'set mixed_precision = "{precision}", or drop {name}')
    fewer_bits = model.fp8_base_unet or model.base_model_precision != "given"
    if model.lowram and not model.fp8_base and (model.blocks_to_swap or not fewer_bits):
        message = "without effect: weights are always read straight to the device"
        if model.blocks_to_swap:
            message = "without effect: the denoiser's blocks wait in host memory, all else is read to the device"
        yield Finding("without effect", "lowram", message)
