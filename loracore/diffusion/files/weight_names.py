"""The tables of names for text encoders and VAEs in the layouts that files have.

A table is made from the names that a real module has, so that nothing is guessed from a spelling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from loracore.weights.layout import FileTensor, Names

# ---- CLIP text encoders ----------------------------------------------------------------------------------------------


def clip_name(key: str) -> str:
    """Return the name that files give to a CLIP text encoder's tensor or module.

    Some transformers versions have the level ``text_model.`` inside their modules, some leave it out; files have it.
    """
    if key.startswith(("text_model.", "text_projection.")):
        return key
    return f"text_model.{key}"


def is_open_clip(in_file: Iterable[str]) -> bool:
    """Tell whether a CLIP text encoder's names in a file are those of OpenCLIP."""
    return any(name.startswith(("transformer.resblocks.", "token_embedding.")) for name in in_file)


def any_clip_names(keys: Iterable[str], in_file: Collection[str]) -> Names:
    """Return the table for a file with OpenCLIP's or Hugging Face's names, whichever it has."""
    return open_clip_names(keys, in_file) if is_open_clip(in_file) else clip_names(keys, in_file)


def clip_names(keys: Iterable[str], in_file: Iterable[str]) -> Names:
    """Return the table for a file with Hugging Face's names, with or without ``text_model.``."""
    known = frozenset(in_file)
    spelled = {key: clip_name(key) for key in keys}
    return {key: FileTensor(name if name in known else _without_level(name, known)) for key, name in spelled.items()}


def _without_level(name: str, known: frozenset[str]) -> str:
    bare = name.removeprefix("text_model.")
    return bare if bare in known else name


_OPEN_CLIP_MODULES = (
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
)
_QKV = ("q_proj", "k_proj", "v_proj")


def open_clip_names(keys: Iterable[str], in_file: Iterable[str]) -> Names:
    """Return the table for a file with OpenCLIP's names.

    OpenCLIP keeps q, k and v in one matrix, and multiplies by ``text_projection`` from the right, so that its matrix
    is transposed against that of a Linear; where the file calls it ``text_projection.weight`` it is a Linear's.
    """
    linear_projection = "text_projection.weight" in frozenset(in_file)
    return {key: _open_clip_place(clip_name(key), linear_projection=linear_projection) for key in keys}


def _open_clip_place(name: str, *, linear_projection: bool) -> FileTensor:
    if name == "text_projection.weight":
        return FileTensor(name) if linear_projection else FileTensor("text_projection", transposed=True)
    part = None
    for row, projection in enumerate(_QKV):
        for kind in ("weight", "bias"):
            if name.endswith(f".self_attn.{projection}.{kind}"):
                part = (row, len(_QKV))
                name = name.replace(f".self_attn.{projection}.{kind}", f".attn.in_proj_{kind}")
    for ours, theirs in _OPEN_CLIP_MODULES:
        name = name.replace(ours, theirs)
    return FileTensor(name, part)


# ---- T5 encoders -----------------------------------------------------------------------------------------------------

_T5_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")


def t5_names(keys: Iterable[str], in_file: Collection[str]) -> Names:
    """Return the table for a file with Hugging Face's names; the embedding has two, of which a file needs one."""
    embedding = next((name for name in _T5_EMBEDDINGS if name in in_file), _T5_EMBEDDINGS[0])
    return {key: FileTensor(embedding if key in _T5_EMBEDDINGS else key) for key in keys}


# ---- VAE -------------------------------------------------------------------------------------------------------------

_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OLD_VAE_ATTENTION = {
    "group_norm": "group_norm",
    "to_q": "query",
    "to_k": "key",
    "to_v": "value",
    "to_out.0": "proj_attn",
}


def has_diffusers_names(in_file: Iterable[str]) -> bool:
    """Tell whether a VAE's names in a file are those of diffusers."""
    return any(name.startswith(("encoder.down_blocks.", "decoder.up_blocks.")) for name in in_file)


def any_vae_names(keys: Iterable[str], in_file: Collection[str]) -> Names:
    """Return the table for a file in the original layout or with diffusers' names, whichever it has."""
    return folder_vae_names(keys, in_file) if has_diffusers_names(in_file) else vae_names(keys)


def vae_names(keys: Iterable[str]) -> Names:
    """Return the table of a VAE in the original layout of latent diffusion (CompVis)."""
    listed = list(keys)
    ups = 1 + max(int(key.split(".")[2]) for key in listed if key.startswith("decoder.up_blocks."))
    return {key: _vae_place(key, ups) for key in listed}


def folder_vae_names(keys: Iterable[str], in_file: Iterable[str]) -> Names:
    """Return the table of a VAE with diffusers' names, the older ones of its attention included."""
    known = frozenset(in_file)
    return {key: FileTensor(key if key in known else _old_attention_name(key)) for key in keys}


def _old_attention_name(key: str) -> str:
    for ours, older in _OLD_VAE_ATTENTION.items():
        key = key.replace(f"attentions.0.{ours}.", f"attentions.0.{older}.")
    return key


def _vae_place(key: str, ups: int) -> FileTensor:
    side, *path = key.split(".")
    match path:
        case ["down_blocks", level, "resnets", number, *tail]:
            name = f"down.{level}.block.{number}.{_vae_tail(tail)}"
        case ["down_blocks", level, "downsamplers", _, *tail]:
            name = f"down.{level}.downsample.{'.'.join(tail)}"
        case ["up_blocks", level, "resnets", number, *tail]:  # counted from the picture's side in the file
            name = f"up.{ups - 1 - int(level)}.block.{number}.{_vae_tail(tail)}"
        case ["up_blocks", level, "upsamplers", _, *tail]:
            name = f"up.{ups - 1 - int(level)}.upsample.{'.'.join(tail)}"
        case ["mid_block", "resnets", number, *tail]:
            name = f"mid.block_{int(number) + 1}.{_vae_tail(tail)}"
        case ["mid_block", "attentions", _, *tail]:
            layer, kind = ".".join(tail[:-1]), tail[-1]
            pointwise = kind == "weight" and layer != "group_norm"
            return FileTensor(f"{side}.mid.attn_1.{_VAE_ATTENTION[layer]}.{kind}", pointwise=pointwise)
        case ["conv_norm_out", kind]:
            name = f"norm_out.{kind}"
        case _:  # conv_in, conv_out, and the convolutions between the two sides
            return FileTensor(key)
    return FileTensor(f"{side}.{name}")


def _vae_tail(tail: list[str]) -> str:
    return ".".join(["nin_shortcut" if word == "conv_shortcut" else word for word in tail])
