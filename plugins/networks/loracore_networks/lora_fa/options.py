"""What LoRA-FA says of LoRA's options."""

from __future__ import annotations

from collections.abc import Sequence

from loracore import Config, Finding
from loracore_networks.lora.options import file_findings_of
from loracore_networks.lora.options import findings as lora_findings

_LORA_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")


def findings(config: Config) -> Sequence[Finding]:
    """Return what contradicts itself, is refused, or is without effect."""
    message = "LoRA-FA trains the up factor alone: there is no other that LoRA+ could move it faster than"
    refused = [Finding("unsupported", name, message, "leave it out") for name in _LORA_PLUS if config.given(name)]
    return [*lora_findings(config), *refused, *file_findings_of("lora", config)]
