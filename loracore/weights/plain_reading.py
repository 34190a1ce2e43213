"""Tensors of .safetensors files read in the ordinary way, one after the other; no memory mapping."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from loracore.errors import DataError
from loracore.weights.headers import Header

#: What headers call torch's dtypes.
DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "I8": torch.int8,
        "U16": torch.uint16,
        "I16": torch.int16,
        "U32": torch.uint32,
        "I32": torch.int32,
        "U64": torch.uint64,
        "I64": torch.int64,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
        "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
        "F8_E8M0": torch.float8_e8m0fnu,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
        "C64": torch.complex64,
    }
)


def read_plainly(header: Header, names: Collection[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Give (name, tensor) of a file; the host holds one tensor at a time, unless the caller keeps them.

    Raises DataError for a kind of number that torch does not have, and for a file that is damaged or became shorter.
    """
    with header.path.open("rb") as file:
        for name in names:
            dtype = DTYPES.get(header.dtypes[name])
            if dtype is None:
                message = f"'{name}' holds numbers of a kind that torch does not have: {header.dtypes[name]}"
                raise DataError(message, where=str(header.path))
            start, end = header.places[name]
            if end - start != dtype.itemsize * math.prod(header.shapes[name]):
                message = f"'{name}' has {end - start} bytes, which are not those of its shape: the file is damaged"
                raise DataError(message, where=str(header.path), fix="download it again, or give another file")
            held = bytearray(end - start)
            file.seek(start)
            if file.readinto(held) != len(held):
                message = "the file is shorter than it was a moment ago"
                raise DataError(message, where=str(header.path), fix="do not change files that a run reads")
            # An empty buffer is refused; the tensor takes over the bytes of any other and nobody else has them.
            flat = torch.frombuffer(held, dtype=dtype) if held else torch.empty(0, dtype=dtype)
            yield name, flat.reshape(header.shapes[name]).to(device)
