"""Which tensors of a network's file ComfyUI takes: its loader's rules, written down from their description alone.

A module's name is made of the base model's own names; a module's tensors are tried kind by kind, the first that fits
is taken. What no rule takes is left lying, with a line in the log.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Shapes = Mapping[str, Sequence[int]]

#: Prefixes of the parts in a checkpoint, in the names of diffusers' folders for text encoders, and what files say.
_DENOISER = "model.diffusion_model."
_CLIP_LAYER = re.compile(r"text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])")
_T5_LAYER = re.compile(r"encoder\.block\.\d+\.layer\.(0\.SelfAttention\.[qkvo]|1\.DenseReluDense\.(wi_0|wi_1|wo))")
#: Each kind of adapter: tensors that must be there, and those that may.
_ADAPTERS: Sequence[tuple[Collection[str], Collection[str]]] = (
    (("lora_up.weight", "lora_down.weight"), ("lora_mid.weight",)),
    (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), ("hada_t1", "hada_t2")),
    (("lokr_w1", "lokr_w2"), ()),
    (("lokr_w1", "lokr_w2_a", "lokr_w2_b"), ("lokr_t2",)),
    (("lokr_w1_a", "lokr_w1_b", "lokr_w2"), ()),
    (("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"), ("lokr_t2",)),
    (("a1.weight", "a2.weight", "b1.weight", "b2.weight"), ()),
    (("oft_blocks",), ("rescale",)),
    (("diff",), ("diff_b",)),
    (("w_norm", "b_norm"), ()),
    (("set_weight",), ()),
)
_WITH_ANY = ("alpha", "dora_scale", "reshape_weight")


@dataclass(frozen=True, slots=True)
class Taken:
    """What the loader makes of a file."""

    modules: frozenset[str]  # patched
    tensors: frozenset[str]


def denoiser_keys(names: Iterable[str]) -> Iterator[str]:
    """Give the module names that files may have for the denoiser of a checkpoint in the original layout."""
    for name in names:
        if name.startswith(_DENOISER) and name.endswith(".weight"):
            yield "lora_unet_" + name.removeprefix(_DENOISER).removesuffix(".weight").replace(".", "_")


def text_keys(encoders: Sequence[Iterable[str]]) -> Iterator[str]:
    """Give those of the text encoders: CLIP-L, CLIP-G and, where there is one, T5, by transformers' names."""
    for number, names in enumerate(encoders, start=1):
        for name in names:
            path = name.removesuffix(".weight")
            layer = path if path.startswith(("text_model.", "encoder.block.")) else f"text_model.{path}"
            if _CLIP_LAYER.fullmatch(layer) or _T5_LAYER.fullmatch(layer):
                yield f"lora_te{number}_{layer.replace('.', '_')}"


def take(file: Shapes, keys: Collection[str]) -> Taken:
    """Return what is taken of a file by a model with these module names."""
    modules, tensors = set(), set()
    for key in keys:
        own = {name.removeprefix(f"{key}.") for name in file if name.startswith(f"{key}.")}
        for needed, possible in _ADAPTERS:
            if own.issuperset(needed) and _fits(file, key, needed):
                modules.add(key)
                tensors |= {f"{key}.{name}" for name in own.intersection((*needed, *possible, *_WITH_ANY))}
                break
    return Taken(frozenset(modules), frozenset(tensors))


def _fits(file: Shapes, key: str, needed: Collection[str]) -> bool:
    """Tell whether rotations have 3 dimensions (OFT) or 4 (BOFT); other kinds have no such rule."""
    return "oft_blocks" not in needed or len(file[f"{key}.oft_blocks"]) in {3, 4}
