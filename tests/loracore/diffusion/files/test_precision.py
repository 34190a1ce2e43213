from __future__ import annotations

import pytest
import torch
from torch import nn

from loracore.diffusion.files.precision import compute_dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_model_computes_in_what_its_weights_are(dtype: torch.dtype) -> None:
    assert compute_dtype(nn.Linear(2, 2, dtype=dtype)) == dtype


def test_float8_only_stores() -> None:
    layers = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2, dtype=torch.bfloat16))
    layers[0].to(torch.float8_e4m3fn)
    assert compute_dtype(layers) == torch.bfloat16
    assert compute_dtype(layers[0]) == torch.float32
