"""Every place where a network may put an adapter, in the order of the field's files; rank 0 leaves a place out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product

from diffusers import SD3Transformer2DModel

from loracore import Config, ConfigError, LoraTarget, Models, NetworkOptions
from loracore.diffusion.files.file_layers import FileLayer, file_layers
from loracore.diffusion.text.text_targets import adaptable, clip_targets, t5_targets
from loracore_sd3.names import transformer_names
from loracore_sd3.options import EMBEDDERS, Sd3NetworkOptions, block_indices, emb_ranks

_ATTENTION = ("attn.qkv", "attn.proj", "attn2.qkv", "attn2.proj")
#: The layers of each side of a block, and which of its three kinds of rank they take.
_LAYERS = (
    *((layer, "attn") for layer in _ATTENTION),
    *(("mlp.fc1", "mlp"), ("mlp.fc2", "mlp"), ("adaLN_modulation.1", "mod")),
)


def every(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets of the loaded parts: text encoders, then the transformer.

    Raises ConfigError for ``train_block_indices`` beyond the model's blocks.
    """
    found: list[LoraTarget] = []
    t5_rank = None if config[Sd3NetworkOptions].train_t5xxl else 0
    for part, encoder in models.text.items():
        found += t5_targets(encoder, part, t5_rank) if part == "te3" else clip_targets(encoder, part)
    if isinstance(models.denoiser, SD3Transformer2DModel):
        found += transformer_targets(models.denoiser, config)
    return found


def transformer_targets(transformer: SD3Transformer2DModel, config: Config) -> Iterator[LoraTarget]:
    """Give every layer of the joint blocks, then the embedders and the final layer."""
    layers, depth = file_layers(transformer_names(transformer)), len(transformer.transformer_blocks)
    trained, by_kind = _trained_blocks(depth, config), asdict(config[Sd3NetworkOptions])
    for number, side, (layer, kind) in product(range(depth), ("context", "x"), _LAYERS):
        name = f"joint_blocks.{number}.{side}_block.{layer}"
        if name in layers:  # not every block has a second attention, the last one has no text to hand on
            rank = by_kind[f"{side}_{kind}_dim"] if number in trained else 0
            yield _target(transformer, layers[name], rank, config)
    ranks = emb_ranks(config) or (0,) * len(EMBEDDERS)
    for (embedder, rank), outer in product(zip(EMBEDDERS, ranks, strict=True), layers.values()):
        if outer.name.replace(".", "_").startswith(embedder):
            yield _target(transformer, outer, rank, config)


def _target(transformer: SD3Transformer2DModel, layer: FileLayer, rank: int | None, config: Config) -> LoraTarget:
    in_block = layer.name.startswith("joint_blocks.")
    return LoraTarget(
        key=f"lora_unet_{layer.name.replace('.', '_')}",
        layers=tuple(adaptable(transformer, path) for path in layer.paths),
        paths=layer.paths,
        part="unet",
        block=".".join(layer.name.split(".")[:2]) if in_block else None,
        rank=rank,
        # The one convolution takes network_alpha like everything else, not a network's alpha for convolutions.
        alpha=None if in_block else config[NetworkOptions].network_alpha or 0.0,
        separate=config[Sd3NetworkOptions].split_qkv and len(layer.paths) > 1,
        swapped_halves=layer.swapped_halves,
    )


def _trained_blocks(depth: int, config: Config) -> frozenset[int]:
    chosen = block_indices(config, depth)
    beyond = sorted(number for number in chosen if number >= depth)
    if beyond:
        message = f"train_block_indices names {', '.join(map(str, beyond))}, but this model's blocks are 0-{depth - 1}"
        raise ConfigError(message, where=config.place("train_block_indices"), fix=f"use numbers up to {depth - 1}")
    return chosen
