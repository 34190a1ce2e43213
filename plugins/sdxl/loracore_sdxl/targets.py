"""Every place where a network may put an adapter, in the order of the field's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from diffusers import UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import nn

from loracore import Config, LoraTarget, Models
from loracore.diffusion.text.text_targets import adaptable, clip_targets
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


def every(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets of the loaded parts: text encoders, then the U-Net."""
    own = config[SdxlOptions]
    rates = {"te1": own.text_encoder_lr1, "te2": own.text_encoder_lr2}
    found: list[LoraTarget] = []
    for part, encoder in models.text.items():
        found += clip_targets(encoder, part, rates[part], last_unused=part == "te1")
    if isinstance(models.denoiser, UNet2DConditionModel):
        found += unet_targets(models.denoiser)
    return found


def unet_targets(unet: UNet2DConditionModel) -> Iterator[LoraTarget]:
    """Give the layers of each transformer, and, for networks that adapt convolutions, of each resnet and sampler."""
    blocks = block_names(unet)
    for block, original in blocks.items():
        module = unet.get_submodule(block)
        for name in _layer_names(module):
            path = f"{block}.{name}"
            yield LoraTarget(
                key=f"lora_unet_{original_name(path, blocks).replace('.', '_')}",
                layers=(adaptable(module, name),),
                paths=(path,),
                part="unet",
                block=".".join(original.split(".")[:2]),
                needs_conv=not isinstance(module, Transformer2DModel),
            )


def block_groups(unet: UNet2DConditionModel) -> Mapping[str, Sequence[str]]:
    """Return the 23 blocks that block-wise options count; the embeddings are the first, the last layers the last."""
    names = dict.fromkeys(".".join(name.split(".")[:2]) for name in block_names(unet).values())
    grouped = (("down", "input_blocks."), ("mid", "middle_block."), ("up", "output_blocks."))
    inner = {group: [name for name in names if name.startswith(start)] for group, start in grouped}
    return {"embeddings": ["time_embed"], **inner, "out": ["out"]}


def _layer_names(module: nn.Module) -> Sequence[str]:
    if isinstance(module, Transformer2DModel):
        inner = [
            f"transformer_blocks.{i}.{name}" for i in range(len(module.transformer_blocks)) for name in _TRANSFORMER
        ]
        return ["proj_in", *inner, "proj_out"]
    if isinstance(module, ResnetBlock2D):
        return [name for name in _RESNET if name != "conv_shortcut" or module.conv_shortcut is not None]
    return ["conv"] if isinstance(module, Downsample2D | Upsample2D) else []
