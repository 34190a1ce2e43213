"""The parts' configurations: SDXL's own, kept in this package, or read off the shapes in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loracore.diffusion.files.config_shapes import count_blocks, heads, norm_groups
from loracore.diffusion.files.folders import packaged_config
from loracore.weights.headers import Shape

_SIZES = 6  # numbers that the U-Net is told of a picture


def standard_config(part: str) -> dict[str, Any]:
    """Return SDXL's own configuration of "unet", "vae", "text_encoder" or "text_encoder_2"."""
    return packaged_config("loracore_sdxl", f"{part}/config.json")


def unet_config(shapes: Mapping[str, Shape], pooled: int) -> dict[str, Any]:
    """Return the configuration of a U-Net of these shapes (original layout, without prefix); SDXL's own where it fits.

    ``pooled`` is the width of the pooled text state, of which no tensor of the U-Net tells.
    """
    standard = standard_config("unet")
    ends = sorted(int(name.split(".")[1]) for name in shapes if name.endswith(".0.op.weight"))
    blocks = count_blocks(shapes, "input_blocks.")
    step = ends[0] if ends else blocks  # resnets of a level, and the sampler behind them
    starts = range(1, blocks, step)
    widths = [shapes[f"input_blocks.{start}.0.out_layers.3.weight"][0] for start in starts]
    depths = [count_blocks(shapes, f"input_blocks.{start}.1.transformer_blocks.") for start in starts]
    conditioning = shapes["label_emb.0.0.weight"][1]
    found: dict[str, Any] = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": step - 1,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "projection_class_embeddings_input_dim": conditioning,
        "addition_time_embed_dim": (conditioning - pooled) // _SIZES,
    }
    if widths != standard["block_out_channels"]:
        found["attention_head_dim"] = heads(widths, "U-Net")
        found["norm_num_groups"] = norm_groups(widths, "U-Net")
    return {**standard, **found}
