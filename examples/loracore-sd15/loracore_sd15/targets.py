"""Every place where a network may put an adapter, under the names of the field's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loracore import Config, LoraTarget, Models, hookimpl
from loracore_sd15.options import Sd15Options


@hookimpl
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets of the loaded parts: text encoder, then U-Net."""
    text = [target for encoder in models.text.values() for target in _text_targets(encoder, config)]
    return [*text, *(_unet_targets(models.denoiser) if models.denoiser is not None else ())]


def block_groups(unet: Any) -> Mapping[str, Sequence[str]]:
    """Return the 25 blocks that block-wise options count; conv_in is the first, which has no target."""
    places = range((unet.config.layers_per_block + 1) * len(unet.down_blocks))
    down, up = ([f"{side}_blocks.{place}" for place in places] for side in ("input", "output"))
    return {"down": down, "mid": ["middle_block"], "up": up}


def _text_targets(encoder: Any, config: Config) -> Iterator[LoraTarget]:
    """Give the encoder's targets: files do not number an only one, and nobody hears of the layers that are skipped."""
    from loracore.diffusion.text.text_targets import clip_targets

    layers, skip = encoder.config.num_hidden_layers, config[Sd15Options].clip_skip or 1
    skipped = {f"layers.{layers - place}" for place in range(1, skip)}
    for one in clip_targets(encoder, "te1"):
        yield replace(one, key=one.key.replace("lora_te1_", "lora_te_", 1), expected_unused=one.block in skipped)


def _unet_targets(unet: Any) -> Iterator[LoraTarget]:
    """Give every layer of each transformer and, for networks that adapt convolutions, of each resnet and sampler."""
    from torch import nn

    from loracore_sd15.names import inner_blocks

    for block, original in inner_blocks(unet).items():
        group, number = original.split(".")[:2]
        place, conv = group if group == "middle_block" else f"{group}.{number}", ".attentions." not in block
        for path, layer in unet.get_submodule(block).named_modules(prefix=block):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                key = f"lora_unet_{path.replace('.', '_')}"
                yield LoraTarget(key, (layer,), (path,), "unet", block=place, needs_conv=conv)
