"""A transformer with the blocks of SD3.5 and random weights, and LoRA adapters in it: what several benchmarks train."""

from __future__ import annotations

import torch
from diffusers import SD3Transformer2DModel
from loracore_networks.lora.building import build_lora
from torch import nn

from loracore import Config, LoraTarget, Models
from loracore.networks.network import Network, build_network

#: Of one attention head.
FEATURES = 64


def empty_transformer(depth: int, heads: int, context: int) -> SD3Transformer2DModel:
    """Return a transformer of ``depth`` blocks on the meta device, for captions of ``context`` features a token."""
    with torch.device("meta"):
        return SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=depth,
            attention_head_dim=FEATURES,
            num_attention_heads=heads,
            joint_attention_dim=context,
            caption_projection_dim=FEATURES * heads,
            pooled_projection_dim=2048,
            pos_embed_max_size=192,
            qk_norm="rms_norm",
        )


def random_models(
    transformer: SD3Transformer2DModel, place: torch.device, device: torch.device, dtype: torch.dtype
) -> Models:
    """Return an empty transformer, frozen, on ``place``; its weights are drawn on the device, one by one."""
    transformer.to(dtype).to_empty(device=place).requires_grad_(requires_grad=False).eval()
    for tensor in (*transformer.parameters(), *transformer.buffers()):
        tensor.data.copy_(torch.randn(tensor.shape, device=device, dtype=dtype) * 0.02)
    return Models(denoiser=transformer, blocks={"unet": tuple(transformer.transformer_blocks)})


def attention_network(models: Models, config: Config) -> Network:
    """Return LoRA adapters for every attention projection of the blocks, not yet in front of them."""
    targets = [
        LoraTarget(f"lora_unet_{at}_{path.replace('.', '_')}", (layer,), (path,), "unet")
        for at, block in enumerate(models.blocks["unet"])
        for path, layer in block.named_modules()
        if path.startswith("attn.") and isinstance(layer, nn.Linear)
    ]
    return build_network(targets, lambda target, weights: build_lora(target, weights, config))


def put_in_front(network: Network, device: torch.device) -> None:
    """Bring adapters to the device, let them train, and put them in front of their layers."""
    network.modules.to(device).train()
    network.attach()
