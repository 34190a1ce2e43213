"""The two kinds of names that LoRA files have: kohya's, and those of diffusers and PEFT."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from loracore.errors import did_you_mean
from loracore.networks.rates import is_text, part_of
from loracore.networks.spellings import split_name
from loracore.types import LoraTarget, Part
from loracore.weights.convert.kohya_keys import UNDERSCORED

Format = Literal["diffusers", "kohya"]

#: What tells other networks apart: part of a tensor's name, and what they are called.
_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "hada_": "a LoHa",
        "lokr_": "a LoKr",
        "oft_": "an OFT",
        ".diff.": "full changes of weights",
        ".diff_b.": "full changes of weights",
        ".a1.weight": "a GLoRA",
        ".on_input": "an IA3",
        "w_norm": "a network with norms",
        "lora_B.bias": "a LoRA with biases",
    }
)


#: How names begin that are kohya's in some spelling, whether the model has a place for them or not.
_BEGINNINGS = ("lora_", "lycoris_", "oft_", "diffusion_model.")


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """A layer of a target, by its number in it."""

    target: LoraTarget
    index: int


def other_network(names: Iterable[str]) -> str:
    """Return what the tensors are of if not of a LoRA or DoRA, with an example; an empty text for these."""
    for name in names:
        for mark, kind in _OTHERS.items():
            if mark in f"{name}.":
                return f"{kind} ('{name}')"
    return ""


def format_of(names: Collection[str], targets: Mapping[str, LoraTarget]) -> Format | None:
    """Return whose names most of a file's tensors have, or None for neither."""
    kohya = sum(name.partition(".")[0] in targets or name.startswith(_BEGINNINGS) for name in names)
    diffusers = sum(split_name(name) is not None for name in names)
    if kohya * 2 > len(names):
        return "kohya"
    return "diffusers" if diffusers * 2 > len(names) else None


def text_parts(heads: Iterable[str]) -> frozenset[Part]:
    """Return the text encoders ("te1", …) that names with these beginnings, up to the first dot, are about."""
    heads = list(heads)
    found = {part_of(head) for head in heads if is_text(part_of(head))}
    matches = (re.fullmatch(r"text_encoder(?:_(\d+))?", head) for head in heads)
    return frozenset(found | {f"te{match[1] or 1}" for match in matches if match})


def diffusers_name(target: LoraTarget, index: int, folder: str) -> str:
    """Return a layer's name in diffusers' layout: "transformer.transformer_blocks.0.attn.to_q".

    ``folder`` is the denoiser's there.
    """
    return f"{_head(target.part, folder)}.{_path(target, index)}"


def diffusers_places(targets: Iterable[LoraTarget], folder: str) -> dict[str, Place]:
    """Return every layer by each name that files give to it.

    Its path stands behind the part's name, behind PEFT's own prefix or alone, or with underscores behind kohya's
    prefixes. A layer that is a whole module of the file has its key, too.
    """
    found: dict[str, Place] = {}
    for target in targets:
        for index, path in enumerate(target.paths):
            place = Place(target, index)
            spellings = {_path(target, index), path}
            found |= {f"{_head(target.part, folder)}.{spelling}": place for spelling in spellings}
            if not is_text(target.part):
                found |= {f"base_model.model.{path}": place, path: place}
                found |= {f"{head}{path.replace('.', '_')}": place for head in UNDERSCORED}
        if len(target.layers) == 1 and not target.swapped_halves:
            found[target.key] = Place(target, 0)
    return found


def strangers(unknown: Collection[str], known: Iterable[str]) -> tuple[str, str]:
    """Return message and cure for modules that have no place in the model, the nearest name included."""
    shown = sorted(unknown)
    examples = ", ".join(f"'{name}'" for name in shown[:3])
    hint = did_you_mean(shown[0], known)
    message = f"{len(shown)} modules of the file have no place in this model, for example {examples}"
    return message, hint


def _head(part: str, folder: str) -> str:
    """Return what a part's names begin with: every pipeline counts its text encoders in the same way."""
    if not is_text(part):
        return folder
    number = part.removeprefix("te")
    return "text_encoder" if number == "1" else f"text_encoder_{number}"


def _path(target: LoraTarget, index: int) -> str:
    """Return a layer's path as files have it.

    Some transformers versions have a level ``text_model.`` inside their modules, some leave it out; files have it, and
    so have the keys of text encoders.
    """
    path, key = target.paths[index], target.key.split("_", 2)[-1]  # behind "lora_te1_"; a file's only one has no number
    own = f"_{path.replace('.', '_')}"
    return f"{key.removesuffix(own)}.{path}" if is_text(target.part) and key.endswith(own) else path
