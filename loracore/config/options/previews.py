"""Pictures of some prompts, drawn while the network learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from loracore.config.limits import MOST_STEPS
from loracore.config.options.declaring import option

Sampler = Literal[
    "ddim",
    "pndm",
    "lms",
    "euler",
    "euler_a",
    "heun",
    "dpm_2",
    "dpm_2_a",
    "dpmsolver",
    "dpmsolver++",
    "dpmsingle",
    "k_lms",
    "k_euler",
    "k_euler_a",
    "k_dpm_2",
    "k_dpm_2_a",
]


def in_small_letters(value: object) -> object:
    """Return a sampler's name as the list has it, however its letters are written."""
    return value.lower() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """Which prompts are drawn, when and how."""

    sample_prompts: Annotated[str | None, option("file of prompts: .txt, .toml or .json")] = None
    sample_every_n_steps: Annotated[
        int | None, option("draw them after every n steps; 0: never", ge=0, le=MOST_STEPS)
    ] = None
    sample_every_n_epochs: Annotated[
        int | None,
        option("draw them after every n epochs; wins over sample_every_n_steps; 0: never", ge=0, le=MOST_STEPS),
    ] = None
    sample_at_first: Annotated[bool, option("draw them before the first step too")] = False
    sample_sampler: Annotated[
        Sampler, option("sampler of prompts that name none"), BeforeValidator(in_small_letters)
    ] = "ddim"
