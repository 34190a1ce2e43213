"""What a run needs to draw its prompts, ready before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loracore.config.prompts.prompt import Prompt
from loracore.training.assembly.phases import Loading
from loracore.types import Models


@dataclass(frozen=True, eq=False, slots=True)
class Previews:
    """The prompts, and the VAE, which waits on the CPU."""

    prompts: tuple[Prompt, ...]
    vae: Models | None  # None: the run has one of its own, as its pictures are encoded in every step


def ready_previews(loading: Loading, prompts: Sequence[Prompt], *, loads_vae: bool) -> Previews | None:
    """Return the run's previews, None where there are no prompts; the VAE is loaded to the CPU."""
    if not prompts:
        return None
    waiting = replace(loading, device=torch.device("cpu"), adapt=None)
    return Previews(tuple(prompts), waiting.models("vae") if loads_vae else None)
