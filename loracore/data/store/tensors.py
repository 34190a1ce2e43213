"""Tensors of torch to and from a store's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from loracore.data.store.entries import Entry, StoredTensor

_DTYPES = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "U16": torch.uint16,
        "U32": torch.uint32,
        "U64": torch.uint64,
        "I8": torch.int8,
        "I16": torch.int16,
        "I32": torch.int32,
        "I64": torch.int64,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
    }
)
_NAMES = MappingProxyType({dtype: name for name, dtype in _DTYPES.items()})


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
    """Return tensors as a store takes them; those on the CPU in row-major order are not copied."""
    return {name: _stored(tensor) for name, tensor in tensors.items()}


def to_tensors(entry: Entry) -> dict[str, Tensor]:
    """Return an entry's tensors in fresh memory, so that they may be written to."""
    return {name: _fresh(stored) for name, stored in entry.items()}


def stacked(several: Sequence[StoredTensor]) -> Tensor:
    """Return tensors of one dtype and, but for their first dimension, one shape as one tensor with B in front.

    Those that are shorter are filled up with zeros. Each is copied once, from the file into its place. ValueError when
    they differ in more than that.
    """
    first = several[0]
    for other in several[1:]:
        if (other.dtype, other.shape[1:]) != (first.dtype, first.shape[1:]):
            message = f"cannot be stacked: {first.dtype} {first.shape} and {other.dtype} {other.shape}"
            raise ValueError(message)
    longest = max(stored.shape[0] for stored in several)
    shape = (len(several), longest, *first.shape[1:])
    whole = all(stored.shape[0] == longest for stored in several)
    made = torch.empty(shape, dtype=_DTYPES[first.dtype]) if whole else torch.zeros(shape, dtype=_DTYPES[first.dtype])
    rows = made.view(torch.uint8).reshape(len(several), -1).numpy()
    for row, stored in zip(rows, several, strict=True):
        row[: stored.data.nbytes] = np.frombuffer(stored.data, np.uint8)
    return made


def _stored(tensor: Tensor) -> StoredTensor:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return StoredTensor(_NAMES[tensor.dtype], tuple(tensor.shape), flat.view(torch.uint8).numpy().data)


def _fresh(stored: StoredTensor) -> Tensor:
    dtype = _DTYPES[stored.dtype]
    if not len(stored.data):  # frombuffer refuses nothing
        return torch.empty(stored.shape, dtype=dtype)
    # a bytearray is the quickest copy: half the time of a tensor that is made and filled
    return torch.frombuffer(bytearray(stored.data), dtype=dtype).view(stored.shape)
