"""Every place where a network may put an adapter, in the order of the field's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diffusers import UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import nn

from loracore import Config, LoraTarget, Models
from loracore.diffusion.clip_text import encoder_layers
from loracore.diffusion.weight_names import clip_name
from loracore_sdxl.names import block_names, original_name
from loracore_sdxl.options import SdxlOptions

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
#: In the order in which the original code makes them; the order of a diffusers block is another.
_TRANSFORMER = (
    *(f"attn1.{layer}" for layer in _ATTENTION),
    "ff.net.0.proj",
    "ff.net.2",
    *(f"attn2.{layer}" for layer in _ATTENTION),
)
_RESNET = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")
_ENCODER = (
    *(f"self_attn.{layer}" for layer in ("k_proj", "v_proj", "q_proj", "out_proj")),
    "mlp.fc1",
    "mlp.fc2",
)


def every(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets of the loaded parts: text encoders, then the U-Net."""
    own = config[SdxlOptions]
    rates = {"te1": own.text_encoder_lr1, "te2": own.text_encoder_lr2}
    found: list[LoraTarget] = []
    for part, encoder in models.text.items():
        found += text_targets(encoder, part, rates[part], last_unused=part == "te1")
    if isinstance(models.denoiser, UNet2DConditionModel):
        found += unet_targets(models.denoiser)
    return found


def text_targets(
    encoder: nn.Module, part: str, lr: float | None = None, *, last_unused: bool = False
) -> Iterator[LoraTarget]:
    """Give the Linears of each attention and MLP of a text encoder.

    ``last_unused``: the hidden state is taken before the last layer, and nothing else of the encoder is used.
    """
    layers = encoder_layers(encoder)
    paths = {id(module): name for name, module in encoder.named_modules()}
    for number, layer in enumerate(layers):
        for name in _ENCODER:
            module = _adaptable(layer, name)
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


def unet_targets(unet: UNet2DConditionModel) -> Iterator[LoraTarget]:
    """Give the layers of each transformer, and, for networks that adapt convolutions, of each resnet and sampler."""
    blocks = block_names(unet)
    for block, original in blocks.items():
        module = unet.get_submodule(block)
        for name in _layer_names(module):
            path = f"{block}.{name}"
            yield LoraTarget(
                key=f"lora_unet_{original_name(path, blocks).replace('.', '_')}",
                layers=(_adaptable(module, name),),
                paths=(path,),
                part="unet",
                block=".".join(original.split(".")[:2]),
                needs_conv=not isinstance(module, Transformer2DModel),
            )


def _adaptable(parent: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    layer = parent.get_submodule(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        message = f"{name} of {type(parent).__name__} is a {type(layer).__name__}, which takes no adapter"
        raise TypeError(message)
    return layer


def _layer_names(module: nn.Module) -> Sequence[str]:
    if isinstance(module, Transformer2DModel):
        inner = [
            f"transformer_blocks.{i}.{name}" for i in range(len(module.transformer_blocks)) for name in _TRANSFORMER
        ]
        return ["proj_in", *inner, "proj_out"]
    if isinstance(module, ResnetBlock2D):
        return [name for name in _RESNET if name != "conv_shortcut" or module.conv_shortcut is not None]
    return ["conv"] if isinstance(module, Downsample2D | Upsample2D) else []
