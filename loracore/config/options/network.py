"""The network that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What is trained, whatever the network."""

    network_dim: Annotated[int | None, option("rank of the network (unset: 4)", ge=1)] = None
    network_alpha: Annotated[float | None, option("scale numerator: scale = alpha / rank; 0 means rank", ge=0)] = 1.0
    network_dropout: Annotated[float, option("dropout inside the adapters", ge=0, lt=1)] = 0.0
    network_args: Annotated[tuple[str, ...], option("further options of the network, key=value")] = ()
    network_weights: Annotated[str | None, option("start from this file of the same network")] = None
    dim_from_weights: Annotated[bool, option("take rank, alpha and modules from network_weights")] = False
    network_train_unet_only: Annotated[bool, option("train adapters of the denoiser only")] = False
    network_train_text_encoder_only: Annotated[bool, option("train adapters of the text encoders only")] = False
    scale_weight_norms: Annotated[
        float | None, option("largest norm of a module's weight change; larger ones are scaled down; 0: off", ge=0)
    ] = None
    base_weights: Annotated[
        tuple[str, ...], option("files of trained networks that are merged into the base model before training")
    ] = ()
    base_weights_multiplier: Annotated[
        tuple[float, ...], option("strength of each of base_weights (unset, and for those beyond: 1)")
    ] = ()
    training_comment: Annotated[str | None, option("free text, kept in the file's metadata")] = None
