"""In which precision a model computes, whatever its weights are stored in."""

from __future__ import annotations

import torch
from torch import nn


def compute_dtype(module: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point parameter that is more than storage: float8 only stores."""
    kinds = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
    return next((kind for kind in kinds if kind.itemsize > 1), torch.float32)
