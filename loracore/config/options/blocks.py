"""What differs from block to block of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from loracore.config.lr_factors import as_text
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """Ranks and learning rates that differ from block to block or from factor to factor.

    All of them may stand in ``network_args``. Blocks are those of the denoiser, in the architecture's order.
    """

    block_dims: Annotated[tuple[int, ...], option("rank of each block; 0 leaves a block out", network_arg=True)] = ()
    block_alphas: Annotated[
        tuple[float, ...], option("alpha of each block (unset: network_alpha)", network_arg=True)
    ] = ()
    conv_block_dims: Annotated[
        tuple[int, ...], option("rank of each block's larger convolutions (unset: conv_dim)", network_arg=True)
    ] = ()
    conv_block_alphas: Annotated[
        tuple[float, ...], option("alpha of each block's larger convolutions (unset: conv_alpha)", network_arg=True)
    ] = ()
    down_lr_weight: Annotated[
        str | None,
        option(
            "factors of the learning rate of the down blocks, or sine, cosine, linear, reverse_linear, zeros[+offset]",
            network_arg=True,
        ),
        BeforeValidator(as_text),
    ] = None
    mid_lr_weight: Annotated[
        str | None,
        option("factors of the learning rate of the middle blocks", network_arg=True),
        BeforeValidator(as_text),
    ] = None
    up_lr_weight: Annotated[
        str | None,
        option("factors of the learning rate of the up blocks, or a name as of down", network_arg=True),
        BeforeValidator(as_text),
    ] = None
    block_lr_zero_threshold: Annotated[
        float, option("blocks whose factor is given and not above it are left out", ge=0, network_arg=True)
    ] = 0.0
    loraplus_lr_ratio: Annotated[
        float | None, option("LoRA+: up factors learn so much faster; 0: not", ge=0, network_arg=True)
    ] = None
    loraplus_unet_lr_ratio: Annotated[
        float | None, option("LoRA+ of the denoiser; 0: not (unset: loraplus_lr_ratio)", ge=0, network_arg=True)
    ] = None
    loraplus_text_encoder_lr_ratio: Annotated[
        float | None, option("LoRA+ of the text encoders; 0: not (unset: loraplus_lr_ratio)", ge=0, network_arg=True)
    ] = None

    @property
    def lr_weights(self) -> dict[str, str]:
        """Return the factors of the learning rate that are given, by the group of blocks that they are for."""
        texts = {"down": self.down_lr_weight, "mid": self.mid_lr_weight, "up": self.up_lr_weight}
        return {group: text for group, text in texts.items() if text is not None}

    @property
    def lists(self) -> dict[str, tuple[float, ...]]:
        """Return the options that have one number for each block, by name."""
        return {
            "block_dims": self.block_dims,
            "block_alphas": self.block_alphas,
            "conv_block_dims": self.conv_block_dims,
            "conv_block_alphas": self.conv_block_alphas,
        }

    @property
    def by_block(self) -> bool:
        """Tell whether blocks differ in rank or learning rate."""
        return bool(self.block_dims or self.conv_block_dims or self.lr_weights)
