"""Options that only the commands for weight files have; no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options import option


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """What is merged into the base model, and where to."""

    models: Annotated[tuple[str, ...], option("files of the network to merge (.safetensors)")] = ()
    ratios: Annotated[
        tuple[float, ...], option("strength of each file: one number for all or one each (unset: 1)")
    ] = ()
    save_to: Annotated[str | None, option("checkpoint to write (.safetensors)")] = None


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Which names the file gets, and where it goes."""

    save_to: Annotated[str | None, option("file to write (.safetensors)")] = None
    to: Annotated[
        Literal["diffusers", "kohya"] | None, option("names of the written file (unset: those that it has not)")
    ] = None
