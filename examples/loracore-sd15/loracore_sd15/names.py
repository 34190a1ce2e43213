"""The U-Net's modules and what the original layout calls them: one table, made from the real modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loracore.weights.layout import FileTensor, Names

_TIME = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
_ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
_RESNET_IN = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1"}
_RESNET_OUT = {"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
_MIDDLE = ("resnets.0", "attentions.0", "resnets.1")


def inner_blocks(unet: Any) -> Mapping[str, str]:
    """Return the original name of every resnet, transformer and sampler's convolution, in the order of execution."""
    modules = {name for name, _ in unet.named_modules()}
    return {ours: original for ours, original in _blocks(unet, modules) if ours in modules}


def unet_names(unet: Any) -> Names:
    """Return the place of every tensor of the U-Net in a file of the original layout, without prefix."""
    blocks, resnet, places = {**_TIME, **_ENDS, **inner_blocks(unet)}, {**_RESNET_IN, **_RESNET_OUT}, {}
    for key in unet.state_dict():
        block = next(name for name in blocks if key.startswith(f"{name}."))
        first, *rest = key.removeprefix(f"{block}.").split(".")
        places[key] = FileTensor(".".join([blocks[block], resnet.get(first, first), *rest]))
    return places


def _blocks(unet: Any, modules: set[str]) -> Iterator[tuple[str, str]]:
    each = unet.config.layers_per_block + 1  # blocks of a level, its sampler's included
    for level in range(len(unet.down_blocks)):
        yield from _pairs(f"down_blocks.{level}", "input_blocks", range(each * level + 1, each * (level + 1)))
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{each * (level + 1)}.0.op"
    yield from ((f"mid_block.{name}", f"middle_block.{place}") for place, name in enumerate(_MIDDLE))
    for level in range(len(unet.up_blocks)):
        yield from _pairs(f"up_blocks.{level}", "output_blocks", range(each * level, each * (level + 1)))
        behind = 2 if f"up_blocks.{level}.attentions" in modules else 1  # the resnet and, if any, the transformer
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{each * (level + 1) - 1}.{behind}.conv"


def _pairs(block: str, original: str, places: range) -> Iterator[tuple[str, str]]:
    for number, place in enumerate(places):
        yield f"{block}.resnets.{number}", f"{original}.{place}.0"
        yield f"{block}.attentions.{number}", f"{original}.{place}.1"
