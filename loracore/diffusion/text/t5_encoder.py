"""T5 text encoders: built without weights, and the precision that their layers need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loracore.diffusion.files.loading import Precision, building_quietly

if TYPE_CHECKING:  # runs whose captions are all cached go without transformers' models
    from transformers import T5EncoderModel
    from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

#: The second matrix of every MLP, whose outputs leave float16's range
#: (https://github.com/huggingface/transformers/issues/20287).
_WIDE = (".wo.weight",)

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class GatedMlp(nn.Module):
    """T5's gated MLP (Shazeer 2020, "GLU Variants Improve Transformer"), for weights in any precision.

    The library's own casts the hidden states to the dtype of ``wo``, which for fp8 would be no arithmetic at all. Here
    they are cast up only: in float16, and where ``wo`` is kept in float32, its product is made in float32.
    """

    def __init__(self, original: T5DenseGatedActDense) -> None:
        super().__init__()
        self.wi_0: nn.Linear = original.wi_0
        self.wi_1: nn.Linear = original.wi_1
        self.wo: nn.Linear = original.wo
        self.dropout: nn.Dropout = original.dropout
        self.act: nn.Module = original.act

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the MLP's output (B,T,F), in float32 where it would leave float16's range."""
        gated: Tensor = self.dropout(self.act(self.wi_0(hidden)) * self.wi_1(hidden))
        kept = self.wo.weight.dtype
        if kept == torch.float32 or (gated.dtype == torch.float16 != kept):
            gated = gated.float()
        answer: Tensor = self.wo(gated)
        return answer


def build_t5(config: Mapping[str, Any]) -> T5EncoderModel:
    """Return a T5 encoder without weights; its two names for the embedding are one module."""
    with building_quietly():
        from transformers import T5Config, T5EncoderModel
        from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

        encoder = T5EncoderModel(T5Config(**config))
    encoder.encoder.embed_tokens = encoder.shared
    for block in encoder.encoder.block:
        feed_forward = block.layer[-1]
        if isinstance(feed_forward.DenseReluDense, T5DenseGatedActDense):
            feed_forward.DenseReluDense = GatedMlp(feed_forward.DenseReluDense)
    return encoder


def t5_blocks(encoder: nn.Module) -> tuple[nn.Module, ...]:
    """Return the blocks in execution order."""
    return tuple(encoder.get_submodule("encoder.block").children())


def t5_precision(chosen: str | None, dtype: torch.dtype) -> Precision:
    """Return the precision of "fp32", "fp16", "bf16" or "fp8_e4m3fn"; None: ``dtype``, with fp8 files as they are.

    In float16 every ``wo`` stays in float32. Beside fp8 matrices everything else has ``dtype``.
    """
    if chosen is None:
        return Precision(dtype, float32=_WIDE)
    if chosen == "fp8_e4m3fn":
        return Precision(dtype, matrices=torch.float8_e4m3fn)
    return Precision(_DTYPES[chosen], matrices=_DTYPES[chosen], float32=_WIDE)
