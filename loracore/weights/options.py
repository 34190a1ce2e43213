"""Options that only the commands for weight files have; no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options import option


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """What is merged into the base model, or without one into a single file, and where to."""

    models: Annotated[tuple[str, ...], option("files of the network to merge (.safetensors)")] = ()
    ratios: Annotated[
        tuple[float, ...], option("strength of each file: one number for all or one each (unset: 1)")
    ] = ()
    method: Annotated[
        Literal["concat", "svd"],
        option("without a base model: concat adds ranks up, exactly; svd keeps new_rank of them, as near as can be"),
    ] = "concat"
    new_rank: Annotated[int | None, option("with method svd: rank of the result", ge=1)] = None
    new_conv_rank: Annotated[
        int | None, option("with method svd: rank of larger convolutions (unset: new_rank)", ge=1)
    ] = None
    save_to: Annotated[str | None, option("checkpoint, or network file, to write (.safetensors)")] = None


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Which names the file gets, and where it goes."""

    save_to: Annotated[str | None, option("file to write (.safetensors)")] = None
    to: Annotated[
        Literal["diffusers", "kohya"] | None, option("names of the written file (unset: those that it has not)")
    ] = None
    new_rank: Annotated[
        int | None, option("rank of the LoRA that comes nearest to modules of other networks (LoHa, LoKr, ...)", ge=1)
    ] = None


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """Which model the difference is taken of, and what of it goes into the file."""

    tuned_model: Annotated[
        str | None, option("model that the LoRA is to give: a .safetensors checkpoint, a diffusers folder, or a hub id")
    ] = None
    clamp_quantile: Annotated[
        float, option("cut values of the factors that are larger than this share of them; 1 keeps all", gt=0, le=1)
    ] = 0.99
    min_diff: Annotated[
        float, option("leave text encoders out when no weight of theirs differs by more than this", ge=0)
    ] = 0.01
    save_to: Annotated[str | None, option("file to write (.safetensors)")] = None


@dataclass(frozen=True, slots=True)
class ResizeOptions:
    """Which ranks a LoRA gets, and where the smaller file goes."""

    save_to: Annotated[str | None, option("file to write (.safetensors)")] = None
    new_rank: Annotated[int | None, option("rank that modules get, or at most with dynamic_method", ge=1)] = None
    new_conv_rank: Annotated[int | None, option("the same of convolutions above 1x1 (unset: new_rank)", ge=1)] = None
    dynamic_method: Annotated[
        Literal["sv_ratio", "sv_cumulative", "sv_fro"] | None,
        option("give each module the rank that its singular values S ask for (unset: new_rank for all)"),
    ] = None
    dynamic_param: Annotated[
        float | None,
        option(
            "sv_ratio p: values above the largest / p; sv_cumulative p: share of the sum of S; sv_fro p: of the norm",
            gt=0,
        ),
    ] = None
