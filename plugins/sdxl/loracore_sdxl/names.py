"""The U-Net's modules and what the original layout calls them: one table, made from the real modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from diffusers import UNet2DConditionModel

from loracore.weights.layout import FileTensor, Names

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BEFORE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
}
_MIDDLE = {
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_AFTER = {"conv_norm_out": "out.0", "conv_out": "out.2"}


def block_names(unet: UNet2DConditionModel) -> Mapping[str, str]:
    """Return the original name of every resnet, transformer, sampler and outer layer, in the original's order."""
    modules = {name for name, _ in unet.named_modules()}
    table = {**_BEFORE, **dict(_down(unet)), **_MIDDLE, **dict(_up(unet, modules)), **_AFTER}
    return {ours: original for ours, original in table.items() if ours in modules}


def original_name(path: str, blocks: Mapping[str, str]) -> str:
    """Return the original name of a module or tensor by its path in the U-Net."""
    words = path.split(".")
    for cut in range(len(words), 0, -1):
        block = ".".join(words[:cut])
        if block in blocks:
            return ".".join([blocks[block], *_inner(block, words[cut:])])
    raise KeyError(path)


def unet_names(unet: UNet2DConditionModel) -> Names:
    """Return the place of every tensor of the U-Net in a file of the original layout, without prefix."""
    blocks = block_names(unet)
    return {key: FileTensor(original_name(key, blocks)) for key in unet.state_dict()}


def _inner(block: str, words: list[str]) -> list[str]:
    if not words:
        return words
    if ".resnets." in block:
        return [_RESNET[words[0]], *words[1:]]
    if ".downsamplers." in block:
        return ["op" if words[0] == "conv" else words[0], *words[1:]]
    return words


def _down(unet: UNet2DConditionModel) -> Iterator[tuple[str, str]]:
    layers = unet.config.layers_per_block
    for level in range(len(unet.down_blocks)):
        for layer in range(layers):
            number = (layers + 1) * level + layer + 1
            yield f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{number}.0"
            yield f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{number}.1"
        yield f"down_blocks.{level}.downsamplers.0", f"input_blocks.{(layers + 1) * (level + 1)}.0"


def _up(unet: UNet2DConditionModel, modules: set[str]) -> Iterator[tuple[str, str]]:
    layers = unet.config.layers_per_block + 1
    for level in range(len(unet.up_blocks)):
        for layer in range(layers):
            yield f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{layers * level + layer}.0"
            yield f"up_blocks.{level}.attentions.{layer}", f"output_blocks.{layers * level + layer}.1"
        place = 2 if f"up_blocks.{level}.attentions" in modules else 1  # behind the resnet and, if any, the transformer
        yield f"up_blocks.{level}.upsamplers.0", f"output_blocks.{layers * level + layers - 1}.{place}"
