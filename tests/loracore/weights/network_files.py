"""Files of networks, built in code, and the changes that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

LINEAR, CONV = "lora_unet_input_blocks_4_1_proj_in", "lora_unet_middle_block_0_in_layers_2"
TEXT = "lora_te1_text_model_encoder_layers_10_mlp_fc1"


def pair(
    key: str, outputs: int, inputs: int, rank: int, alpha: float | None = None, kernel: int = 0
) -> dict[str, Tensor]:
    """Return a LoRA module of random numbers; with a kernel, of a convolution."""
    down = torch.randn(rank, inputs, *([kernel] * 2 if kernel else []))
    up = torch.randn(outputs, rank, *([1, 1] if kernel else []))
    own = {} if alpha is None else {f"{key}.alpha": torch.tensor(alpha)}
    return {**own, f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}


def lora() -> dict[str, Tensor]:
    """Return a LoRA of three parts' worth: a Linear layer, a convolution, a text encoder."""
    torch.manual_seed(0)
    return {**pair(LINEAR, 12, 10, 6, 3.0), **pair(CONV, 8, 6, 5, 5.0, kernel=3), **pair(TEXT, 9, 11, 4, 1.0)}


def change(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """Return alpha / rank · U · D of a module as a matrix (outputs, inputs[ · k · k])."""
    down, up = tensors[f"{key}.lora_down.weight"].double(), tensors[f"{key}.lora_up.weight"].double()
    alpha = float(tensors[f"{key}.alpha"]) if f"{key}.alpha" in tensors else len(down)
    return up.flatten(1) @ down.flatten(1) * alpha / len(down)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write the tensors as a file and return its path."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, dict(metadata or {}))
    return path
