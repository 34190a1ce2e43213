"""The transformer's tensors and what the original layout calls them: one table, made from the real module."""

from __future__ import annotations

from diffusers import SD3Transformer2DModel

from loracore.weights.layout import FileTensor, Names

_OUTER = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
_INNER = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
}
#: Rows of one matrix in the file, in this order.
_FUSED = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
}
_ROWS = {path: (fused, (row, len(paths))) for fused, paths in _FUSED.items() for row, path in enumerate(paths)}


def transformer_names(transformer: SD3Transformer2DModel) -> Names:
    """Return the place of every tensor in a file of the original layout, without prefix.

    Its modulation of the last layer, and of the last block's text, is (shift, scale); diffusers' is (scale, shift).
    """
    last = f"transformer_blocks.{len(transformer.transformer_blocks) - 1}.norm1_context.linear"
    return {key: _place(key, swapped=key.startswith((last, "norm_out."))) for key in transformer.state_dict()}


def _place(key: str, *, swapped: bool) -> FileTensor:
    if key == "pos_embed.pos_embed":
        return FileTensor("pos_embed")
    path, _, kind = key.rpartition(".")
    name, part = place_of(path)
    return FileTensor(f"{name}.{kind}", part, swapped_halves=swapped)


def place_of(path: str) -> tuple[str, tuple[int, int] | None]:
    """Return a module's name in the original layout by its path, and which of how many parts of its rows it is."""
    if not path.startswith("transformer_blocks."):
        return _OUTER.get(path, path), None
    _, number, inner = path.split(".", 2)
    name, part = _ROWS.get(inner) or (_INNER[inner], None)
    return f"joint_blocks.{number}.{name}", part
