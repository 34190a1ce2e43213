"""Matrices in 4 bits: NormalFloat4 of QLoRA (Dettmers et al. 2023, arXiv 2305.14314) by the kernels of bitsandbytes.

64 numbers in a row share a scale, 256 scales share one of theirs and are stored in 8 bits ("double quantisation"): 4.13
bits for each number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from loracore.memory.quiet_bitsandbytes import quiet_bitsandbytes

_BLOCK = 64
_SCALES_BLOCK = 256

#: Names of what is stored: two codes a byte, the blocks' scales as codes, the scales' scales, their mean, and the table
#: of 256 numbers that their codes stand for.
NF4_PARTS = ("weight_codes", "scale_codes", "scale_scales", "scale_mean", "scale_table")


def store_nf4(weight: Tensor) -> Sequence[Tensor]:
    """Return (out, in) in 4 bits; a last block of fewer than 64 numbers is filled up with zeros."""
    flat = weight.flatten()
    whole = functional.pad(flat, (0, -flat.numel() % _BLOCK)).view(-1, _BLOCK)
    codes, state = _kernels().quantize_4bit(whole, blocksize=_BLOCK, compress_statistics=True, quant_type="nf4")
    return codes, state.absmax, state.state2.absmax, state.offset, state.state2.code.to(weight.device)


def read_nf4(stored: Sequence[Tensor], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the matrix of this shape (out, in) in ``dtype``, one of float32, float16 and bfloat16."""
    codes, scale_codes, scale_scales, mean, table = stored
    # What `store_nf4` imported has registered them; its Python functions ask more questions than a step has time for.
    kernels = torch.ops.bitsandbytes
    scales = kernels.dequantize_blockwise(scale_codes, scale_scales, table, _SCALES_BLOCK, torch.float32).add_(mean)
    # In rows of one block: the CPU's kernel takes rows of an even length only, and divides its work by rows.
    whole: Tensor = kernels.dequantize_4bit(codes, scales, _BLOCK, "nf4", [codes.numel() * 2 // _BLOCK, _BLOCK], dtype)
    return whole.view(-1)[: math.prod(shape)].view(*shape)


def _kernels() -> ModuleType:
    with quiet_bitsandbytes():
        from bitsandbytes import functional as kernels  # seconds, for those who store 4 bits
    # It keeps its table on the device of its first call. Sizes are often asked for first: of the meta device, whose
    # table has no numbers, and all later matrices would want them.
    if "dynamic" not in kernels.name2qmap:
        kernels.name2qmap["dynamic"] = kernels.create_dynamic_map().to("cpu")
    found: ModuleType = kernels
    return found
