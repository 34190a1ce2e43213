"""Ranks, alphas and learning rates that differ from block to block of the denoiser, for every architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import nn

from loracore.config.config import Config
from loracore.config.lr_factors import lr_factors
from loracore.config.options import BlockOptions
from loracore.errors import ConfigError, Problem
from loracore.networks.rates import is_text, learning_rate
from loracore.types import LoraTarget, Models

Number = TypeVar("Number", int, float)
#: The blocks of a model by the group that learning rates are given for, in the order of the block-wise options.
Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Block:
    """What the options say of one block; None leaves the choice to the network."""

    index: int
    rank: int | None
    alpha: float | None
    conv_rank: int | None  # of convolutions with a kernel above 1×1
    conv_alpha: float | None
    lr_factor: float | None  # None: no factors are given, for no block


def block_targets(targets: Sequence[LoraTarget], models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets as the block-wise options have them: those of blocks that are left out have rank 0.

    Targets of text encoders, and outside the blocks, stay as they are. Raises ConfigError, with all that is wrong, for
    options that do not fit the blocks of this model.
    """
    options = config[BlockOptions]
    if not options.by_block or models.denoiser is None:
        return targets
    groups = models.block_groups or {"": _blocks_of(targets)}
    problems = [*_wrong_lengths(groups, config), *_wrong_factors(groups, config)]
    if problems:
        raise ConfigError.of(problems)
    blocks = _blocks(groups, options)
    return [target if is_text(target.part) else _adjusted(target, blocks, config) for target in targets]


def _blocks_of(targets: Sequence[LoraTarget]) -> Sequence[str]:
    """Return the denoiser's blocks in order of appearance."""
    named = (target.block for target in targets if not is_text(target.part))
    return list(dict.fromkeys(block for block in named if block is not None))


def _wrong_lengths(groups: Groups, config: Config) -> Iterator[Problem]:
    given, count = config[BlockOptions], sum(map(len, groups.values()))
    for name, numbers in given.lists.items():
        if numbers and len(numbers) != count:
            message = f"{name} has length {len(numbers)}, but this model has {count} blocks"
            yield Problem(message, config.place(name), f"write {count} numbers" if count else f"leave {name} out")


def _wrong_factors(groups: Groups, config: Config) -> Iterator[Problem]:
    for group, text in config[BlockOptions].lr_weights.items():
        name = f"{group}_lr_weight"
        if group not in groups:
            message = f"{name}: this architecture has no {group} blocks"
            yield Problem(message, config.place(name), "leave it out, or choose blocks with block_dims")
            continue
        try:
            found = len(_factors(group, text, len(groups[group])))
        except ConfigError as error:
            yield Problem(f"{name}: {error.problems[0].message}", config.place(name), error.problems[0].fix)
            continue
        if found != len(groups[group]):
            message = f"{name} has length {found}, but this model has {len(groups[group])} {group} blocks"
            yield Problem(message, config.place(name), f"write {len(groups[group])} numbers")


def _factors(group: str, text: str, count: int) -> tuple[float, ...]:
    return lr_factors(text, count, curves=group != "mid")


def _blocks(groups: Groups, options: BlockOptions) -> Mapping[str, Block]:
    """Return what the options, which fit, say of each block."""
    names = [name for group in groups.values() for name in group]
    factors = _all_factors(groups, options) if options.lr_weights else ()
    conv_alphas = options.conv_block_alphas if options.conv_block_dims else ()
    return {
        name: Block(
            index=index,
            rank=_at(options.block_dims, index),
            alpha=_at(options.block_alphas, index),
            conv_rank=_at(options.conv_block_dims, index),
            conv_alpha=_at(conv_alphas, index),
            lr_factor=_at(factors, index),
        )
        for index, name in enumerate(names)
    }


def _at(numbers: Sequence[Number], index: int) -> Number | None:
    return numbers[index] if numbers else None


def _all_factors(groups: Groups, options: BlockOptions) -> Sequence[float]:
    """Return the factor of every block: 1 where none is given, 0 where it is not above the threshold."""
    found: list[float] = []
    for group, names in groups.items():
        if group not in options.lr_weights:
            found += [1.0 for _ in names]
            continue
        given = _factors(group, options.lr_weights[group], len(names))
        found += [factor if factor > options.block_lr_zero_threshold else 0.0 for factor in given]
    return found


def _adjusted(target: LoraTarget, blocks: Mapping[str, Block], config: Config) -> LoraTarget:
    """Return the target with the rank, alpha, learning rate and group of its block."""
    block = None if target.block is None else blocks.get(target.block)
    if block is None:
        return target
    large = _is_large_convolution(target)
    rank, alpha = (block.conv_rank, block.conv_alpha) if large else (block.rank, block.alpha)
    if block.lr_factor == 0:
        rank = 0
    elif target.rank is not None and rank != 0:
        rank = target.rank  # the architecture has a choice of its own for this place
    adjusted = replace(
        target,
        rank=rank,
        alpha=target.alpha if alpha is None else alpha,
        # Ranks of convolutions ask for what stands among them too; its Linear layers have the ranks of the others.
        needs_conv=target.needs_conv and not config[BlockOptions].conv_block_dims,
    )
    if block.lr_factor is None:
        return adjusted
    rate, group = learning_rate(target, config) * block.lr_factor, f"{target.part}_block{block.index}"
    return replace(adjusted, lr=rate, group=group)


def _is_large_convolution(target: LoraTarget) -> bool:
    layer = target.layers[0]
    return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1
