"""The keys, shapes and order of LoRA files for the full-size model, and what targets would give."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from loracore import LoraTarget

#: Each case of the golden file: its parts, and whether convolutions are adapted too.
CASES = (
    ("unet_only", {"unet"}, False),
    ("unet_te1_te2", {"unet", "te1", "te2"}, False),
    ("unet_only_conv_dim4", {"unet"}, True),
)
RANK = 4


def golden(data: Path, case: str) -> list[object]:
    """Return names and shapes in the reference's order."""
    rows: list[object] = json.loads((data / "lora-keys-sdxl.json").read_text(encoding="utf-8"))["cases"][case]
    return rows


def written(targets: Iterable[LoraTarget], parts: set[str], *, conv: bool) -> list[object]:
    """Return names and shapes of what LoRA writes for the targets of these parts, in their order."""
    chosen = [target for target in targets if target.part in parts and (conv or not target.needs_conv)]
    return [row for target in chosen for row in _tensors(target)]


def _tensors(target: LoraTarget) -> list[list[object]]:
    layer = target.layers[0]
    if isinstance(layer, nn.Conv2d):
        down, up = [RANK, layer.in_channels, *layer.kernel_size], [layer.out_channels, RANK, 1, 1]
    else:
        assert isinstance(layer, nn.Linear)
        down, up = [RANK, layer.in_features], [layer.out_features, RANK]
    return [
        [f"{target.key}.alpha", []],
        [f"{target.key}.lora_down.weight", down],
        [f"{target.key}.lora_up.weight", up],
    ]
