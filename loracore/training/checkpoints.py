"""Writing a network's file: whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.training.metadata import file_hashes

RETRIES = 5  # Windows: a virus scanner may hold a new file for a moment


def save_dtype(precision: str | None) -> torch.dtype:
    """Return the dtype of a ``save_precision``; unset means as trained, float32."""
    return {None: torch.float32, "float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def write_network(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with its hashes.

    Raises LoracoreError when a tensor is not finite (the file that may be there stays) or the disk is full.
    """
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}: the file is not written"
        raise LoracoreError(message, where=str(path), fix="lower learning_rate")
    hashes = file_hashes(tensors, metadata)
    write_whole(path, save(dict(tensors), {**metadata, **hashes}))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name holds either the old content or all of the new: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise LoracoreError(message, where=str(path), fix="make room, or give another --output_dir") from error
    finally:
        temporary.unlink(missing_ok=True)  # also after an interrupt; the renamed one is no longer there


def _replace(source: Path, target: Path) -> None:
    for attempt in range(RETRIES):
        try:
            source.replace(target)
        except PermissionError:
            if attempt == RETRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return
