"""Say in what one architecture's demo model differs from another's; everything else is shared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from torch import Tensor, nn
from transformers import PreTrainedModel

from make_demo.vae import VaeKind


@dataclass(frozen=True, slots=True)
class Architecture:
    """Name the parts of a demo model, build them with random weights, and give the denoiser's loss."""

    package: Path  # gets the folder demo_model
    vae: VaeKind
    vae_minutes: float
    base_minutes: float
    decoder_minutes: float
    denoiser: str  # its name in a diffusers folder
    empty_denoiser: Callable[[], nn.Module]
    empty_text_encoders: Callable[[dict[str, int]], Sequence[PreTrainedModel]]  # for a vocabulary
    rate: float  # the denoiser's learning rate
    #: the denoiser's matrices that Muon trains (Jordan et al. 2024), which needs fewer steps than AdamW
    matrices: Callable[[Any], list[nn.Parameter]]
    batch_size: int
    #: denoiser, scaled latents B,C,16,16, hidden states of the captions B,L,112, pooled ones B,P → one number
    loss: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    sampler: Callable[[], Any]  # a scheduler of diffusers
    model_index: Mapping[str, Any]
    #: diffusers' own pipeline, read from a folder
    pipeline: Callable[[Path], DiffusionPipeline]
