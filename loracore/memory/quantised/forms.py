"""The ways to store a frozen matrix in fewer bits, by the names of the option."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from loracore.memory.quantised.nf4 import NF4_PARTS, read_nf4, store_nf4
from loracore.memory.quantised.rows import ROW_PARTS, read_rows, store_fp8, store_int8

#: Reads a matrix (out, in) from what it is stored in, given its shape and the dtype that is wanted.
Read = Callable[[Sequence[Tensor], Sequence[int], torch.dtype], Tensor]


@dataclass(frozen=True, slots=True)
class Form:
    """How a matrix (out, in) is stored and read again; on the meta device, too, where there are sizes alone."""

    name: str
    parts: tuple[str, ...]  # names of the tensors that it is stored in
    store: Callable[[Tensor], Sequence[Tensor]]  # of a matrix in 16 or 32 bits: those tensors, on its device
    read: Read


#: By the values of ``base_model_precision`` but for "given".
FORMS: Mapping[str, Form] = MappingProxyType(
    {
        form.name: form
        for form in (
            Form("fp8_scaled", ROW_PARTS, store_fp8, read_rows),
            Form("int8", ROW_PARTS, store_int8, read_rows),
            Form("nf4", NF4_PARTS, store_nf4, read_nf4),
        )
    }
)
