"""Writing a network's file: whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.training.metadata import file_hashes
from loracore.weights.whole_file import whole_file


def save_dtype(precision: str | None, trained: torch.dtype = torch.float32) -> torch.dtype:
    """Return the dtype of a ``save_precision``; unset means as trained."""
    return {None: trained, "float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def write_network(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with its hashes.

    Raises LoracoreError when a tensor is not finite (the file that may be there stays) or the disk is full.
    """
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}: the file is not written"
        raise LoracoreError(message, where=str(path), fix="lower learning_rate")
    hashes = file_hashes(tensors, metadata)
    with whole_file(path, "give another --output_dir") as file:
        file.write(save(dict(tensors), {**metadata, **hashes}))
