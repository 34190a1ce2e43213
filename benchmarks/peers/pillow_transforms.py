"""The transforms of torchvision that diffusers' script asks for, for square pictures, with Pillow and numpy.

There is no torchvision for some builds of torch. Where it is installed, it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.peers.torchvision_names import stand_in_for_torchvision


class InterpolationMode(Enum):
    """The one that is the script's default."""

    LANCZOS = "lanczos"


def stand_in() -> None:
    """Be torchvision for whatever is imported later."""
    stand_in_for_torchvision(transforms(), {"crop": None})  # imported, and called without --center_crop alone


def transforms() -> Mapping[str, Any]:
    """Return them by their names in ``torchvision.transforms``."""
    return {
        "InterpolationMode": InterpolationMode,
        "Resize": lambda side, interpolation: partial(_resized, side),  # noqa: ARG005  # lanczos is the one there is
        "CenterCrop": lambda side: partial(_cropped, side),
        "RandomHorizontalFlip": lambda p: None,  # noqa: ARG005  # made, and called with --random_flip alone
        "Compose": lambda steps: partial(_in_turn, steps),
        "ToTensor": lambda: _tensor,
        "Normalize": lambda mean, deviation: partial(_normalized, mean[0], deviation[0]),
    }


def _resized(side: int, picture: Image.Image) -> Image.Image:
    return picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.LANCZOS)


def _cropped(side: int, picture: Image.Image) -> Image.Image:
    return picture.crop((0, 0, side, side))


def _tensor(picture: Image.Image) -> Tensor:
    """Return 3,H,W in [0, 1]."""
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()).float().div(255)


def _normalized(mean: float, deviation: float, pixels: Tensor) -> Tensor:
    return (pixels - mean) / deviation


def _in_turn(steps: Sequence[Callable[[Any], Any]], picture: Any) -> Any:
    return reduce(lambda found, step: step(found), steps, picture)
