"""What is wrong or without effect in the block-wise options and in LoRA+, as far as no model is needed to see it."""

from __future__ import annotations

from collections.abc import Iterator

from loracore.config.config import Config, Finding
from loracore.config.lr_factors import lr_factors
from loracore.config.options import BlockOptions, NetworkOptions
from loracore.errors import ConfigError

_FACTORS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
_BY_BLOCK = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")


def block_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong with the block-wise options, and which of them, and of LoRA+'s, change nothing."""
    yield from _wrong_numbers(config)
    if config[NetworkOptions].network_train_text_encoder_only:
        idle = (*_BY_BLOCK, *_FACTORS, "block_lr_zero_threshold", "loraplus_unet_lr_ratio")
        yield from _idle(config, idle, "the denoiser, whose blocks these are, is not trained")
    elif config[NetworkOptions].dim_from_weights:
        yield from _idle(config, _BY_BLOCK, "dim_from_weights takes it from the file")
    else:
        yield from _idle_lists(config)
    if not config[BlockOptions].lr_weights and not config[NetworkOptions].network_train_text_encoder_only:
        reason = "there is no down_lr_weight, mid_lr_weight or up_lr_weight"
        yield from _idle(config, ("block_lr_zero_threshold",), reason)
    yield from _plus(config)


def _wrong_numbers(config: Config) -> Iterator[Finding]:
    options = config[BlockOptions]
    for name, numbers in options.lists.items():
        if any(number < 0 for number in numbers):
            yield Finding("wrong", name, f"{name} has a number below 0")
    for group, text in options.lr_weights.items():
        name = f"{group}_lr_weight"
        try:
            lr_factors(text, 1, curves=group != "mid")
        except ConfigError as error:
            yield Finding("wrong", name, f"{name}: {error.problems[0].message}", error.problems[0].fix)


def _idle_lists(config: Config) -> Iterator[Finding]:
    options = config[BlockOptions]
    if not options.by_block:
        reason = "blocks have alphas of their own only with block_dims or a learning rate of their own"
        yield from _idle(config, ("block_alphas",), reason)
    if not options.conv_block_dims:
        yield from _idle(config, ("conv_block_alphas",), "there is no conv_block_dims")


def _plus(config: Config) -> Iterator[Finding]:
    options = config[BlockOptions]
    network, ratios = config[NetworkOptions], dict[str, float | None]()
    if network.network_train_unet_only:
        yield from _idle(config, ("loraplus_text_encoder_lr_ratio",), "the text encoders are not trained")
    else:
        ratios["loraplus_text_encoder_lr_ratio"] = options.loraplus_text_encoder_lr_ratio
    if not network.network_train_text_encoder_only:
        ratios["loraplus_unet_lr_ratio"] = options.loraplus_unet_lr_ratio
    if ratios and None not in ratios.values():
        reason = f"all that is trained has a ratio of its own, by {' and '.join(ratios)}"
        yield from _idle(config, ("loraplus_lr_ratio",), reason)


def _idle(config: Config, names: tuple[str, ...], reason: str) -> Iterator[Finding]:
    for name in names:
        if config.given(name):
            yield Finding("without effect", name, f"{name} has no effect: {reason}")
