"""The form of a .safetensors file, and the hashes of its content by which readers know a network again.

The form: 8 bytes of length, that much JSON padded to a multiple of 8 with spaces, then the tensors' bytes
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from loracore.weights.hashing import LEGACY_OFFSET, LEGACY_SIZE
from loracore.weights.writing import DTYPES

LENGTH = 8  # bytes in front of the header that hold its length


def header_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the header of tensors of one dtype as safetensors writes it, by the order of names."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return text.ljust(-(-len(text) // LENGTH) * LENGTH)


def body_bytes(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, memoryview]]:
    """Give the bytes of every tensor in the order of a file, without a copy of those on the CPU."""
    for name in sorted(tensors):
        flat = tensors[name].detach().cpu().contiguous().flatten()  # a view as bytes needs a dimension
        yield name, flat.view(torch.uint8).numpy().data


def file_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """Return ``sshs_model_hash`` and ``sshs_legacy_hash`` of a file's content with its ss_* keys alone."""
    header = header_bytes(tensors, {name: value for name, value in metadata.items() if name.startswith("ss_")})
    whole, legacy = hashlib.sha256(), hashlib.sha256()
    place = LENGTH + len(header)
    _take(legacy, len(header).to_bytes(LENGTH, "little") + header, 0)
    for _, content in body_bytes(tensors):
        whole.update(content)
        _take(legacy, content, place)
        place += len(content)
    return {"sshs_model_hash": whole.hexdigest(), "sshs_legacy_hash": legacy.hexdigest()[:8]}


def _take(legacy: hashlib._Hash, content: bytes | memoryview, place: int) -> None:
    """Take in what of this content, at ``place`` of the file, lies where the first hash of models reads."""
    start, stop = max(LEGACY_OFFSET - place, 0), LEGACY_OFFSET + LEGACY_SIZE - place
    if start < len(content) and stop > 0:
        legacy.update(content[start:stop])
