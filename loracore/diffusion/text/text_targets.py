"""The places for adapters in text encoders, which every architecture names alike in its files."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from loracore.diffusion.files.weight_names import clip_name
from loracore.diffusion.text.clip_text import encoder_layers
from loracore.types import LoraTarget

#: In the order of the field's files.
_CLIP = (
    *(f"self_attn.{layer}" for layer in ("k_proj", "v_proj", "q_proj", "out_proj")),
    "mlp.fc1",
    "mlp.fc2",
)
_T5 = (
    *(f"layer.0.SelfAttention.{layer}" for layer in "qkvo"),
    *(f"layer.1.DenseReluDense.{layer}" for layer in ("wi_0", "wi_1", "wo")),
)


def clip_targets(
    encoder: nn.Module, part: str, lr: float | None = None, *, last_unused: bool = False
) -> Iterator[LoraTarget]:
    """Give the Linears of each attention and MLP of a CLIP text encoder.

    ``last_unused``: the hidden state is taken before the last layer, and nothing else of the encoder is used.
    """
    layers = encoder_layers(encoder)
    paths = {id(module): name for name, module in encoder.named_modules()}
    for number, layer in enumerate(layers):
        for name in _CLIP:
            module = adaptable(layer, name)
            path = paths[id(module)]
            yield LoraTarget(
                key=f"lora_{part}_{clip_name(path).replace('.', '_')}",
                layers=(module,),
                paths=(path,),
                part=part,
                block=f"layers.{number}",
                lr=lr,
                expected_unused=last_unused and number == len(layers) - 1,
            )


def t5_targets(encoder: nn.Module, part: str, rank: int | None = None) -> Iterator[LoraTarget]:
    """Give the Linears of each attention and gated MLP of a T5 encoder."""
    blocks = encoder.get_submodule("encoder.block")
    for number, (child, block) in enumerate(blocks.named_children()):
        for name in _T5:
            path = f"encoder.block.{child}.{name}"
            key = f"lora_{part}_{path.replace('.', '_')}"
            yield LoraTarget(key, (adaptable(block, name),), (path,), part, block=f"block.{number}", rank=rank)


def adaptable(parent: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """Return the layer of that name below ``parent``; raises TypeError when it is none that takes an adapter."""
    layer = parent.get_submodule(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        message = f"{name} of {type(parent).__name__} is a {type(layer).__name__}, which takes no adapter"
        raise TypeError(message)
    return layer
