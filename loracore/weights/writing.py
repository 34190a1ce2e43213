"""Writing a .safetensors file tensor by tensor: whole or not at all, and never the whole in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from loracore.weights.whole_file import whole_file

#: The format's words for what tensors hold (https://github.com/huggingface/safetensors, "Format").
DTYPES: Mapping[torch.dtype, str] = MappingProxyType(
    {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
)
_LENGTH = 8  # bytes in front of the header that hold its length
_ENTRY = 128  # more than a tensor's entry needs beside its name


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """Some tensors of a file, made when it is their turn to be written."""

    names: tuple[str, ...]
    make: Callable[[], Mapping[str, Tensor]]  # by these names


def write_pieces(path: Path, pieces: Iterable[Piece], names: Sequence[str], metadata: Mapping[str, str]) -> None:
    """Write a file whose tensors are made one piece after the other; ``names`` are those of all of them.

    The header stands first but is known last (dtypes come with the tensors): room is left for it and filled up with
    spaces, as the format allows. An existing file is replaced when the new one is complete. Raises LoracoreError when
    the disk is full; then, as after an interrupt, nothing is left behind.
    """
    room = _room(names, metadata)
    with whole_file(path, "give another --save_to") as file:
        file.seek(_LENGTH + room)
        entries: dict[str, Any] = {"__metadata__": dict(metadata)}
        end = 0
        for piece in pieces:
            for name, tensor in piece.make().items():
                start, end = end, end + _append(file, tensor)
                entries[name] = {
                    "dtype": DTYPES[tensor.dtype],
                    "shape": list(tensor.shape),
                    "data_offsets": [start, end],
                }
        header = _text(entries).ljust(room)
        assert len(header) == room, "a tensor's entry in the header is longer than foreseen"
        file.seek(0)
        file.write(room.to_bytes(_LENGTH, "little") + header)


def _append(file: BinaryIO, tensor: Tensor) -> int:
    """Write a tensor's bytes and return their number; a view as bytes needs a dimension, which scalars lack."""
    return file.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _room(names: Sequence[str], metadata: Mapping[str, str]) -> int:
    """Return a length that the header surely fits in, so that the tensors behind it stand at a multiple of 8."""
    bare = len(_text({"__metadata__": dict(metadata), **dict.fromkeys(names, 0)}))
    return -(-(bare + _ENTRY * len(names)) // 8) * 8


def _text(entries: Mapping[str, Any]) -> bytes:
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
