"""The modules of a network's file, of whatever kind and with whosever names, told by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loracore.networks.spellings import DOWN, MAGNITUDE, MID, UP, split_name
from loracore.weights.headers import Shape

UNKNOWN = "unknown"
LORA, TUCKER, DORA = "LoRA", "LoRA with a third factor (Tucker)", "DoRA"
LOHA, LOKR, FULL, NORM = "LoHa", "LoKr", "full change", "change of a norm"

#: What tensors are called behind their module, beside those of a plain LoRA.
_TAILS = re.compile(
    r"\.(lora_mid\.weight|dora_scale|lora_magnitude_vector(?:\.default)?(?:\.weight)?|lora_B(?:\.default)?\.bias"
    r"|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t[12])|oft_(?:blocks|diag|R\.weight)|rescale|scalar"
    r"|[ab][12]\.weight|bm\.weight|diff(?:_b)?|[wb]_norm|on_input|reshape_weight)$"
)
#: Which kind a module is by the beginning of one of its tensors' names; the first that is found counts.
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "hada_": LOHA,
        "lokr_": LOKR,
        "oft_": "OFT",
        "on_input": "IA3",
        "a1.": "GLoRA",
        "lora_magnitude_vector": DORA,
        MAGNITUDE: DORA,
        "lora_B": "LoRA with a bias",
        "reshape_weight": "LoRA of another shape than its layer",
        MID: TUCKER,
        DOWN: LORA,
        UP: LORA,
        "diff": FULL,
        "w_norm": NORM,
        "b_norm": NORM,
    }
)
_FACTORS = frozenset({TUCKER, DORA, LORA})  # the kinds that are nothing without both factors
_BUTTERFLY = 4  # dimensions of BOFT's blocks, where OFT's have 3
_PREFIXES = ("base_model.model.", "lora_", "oft_", "lycoris_")
_NUMBER = re.compile(r"(?:^|[._])\d+(?=[._]|$)")


@dataclass(frozen=True, slots=True)
class Module:
    """A module of a file: the names of its tensors there by what they are in it."""

    name: str  # what stands before its tensors' own names
    kind: str
    tensors: Mapping[str, str]  # {"lora_down.weight": "lora_unet_….lora_down.weight"}; PEFT's under kohya's names
    part: str  # "unet" of "lora_unet_…", "text_encoder" of "text_encoder.…"; empty when the name tells none
    block: str  # the words behind the part, up to the first number


def network_modules(shapes: Mapping[str, Shape]) -> list[Module]:
    """Return the modules of a file in its order; a name that nothing is known of makes one of kind "unknown"."""
    found: dict[str, dict[str, str]] = {}
    for name in shapes:
        module, tail = _split(name)
        tensors = found.setdefault(module, {})
        tensors[name if tail in tensors else tail] = name  # one tensor under two spellings: the second stays apart
    return [Module(name, _kind(tensors, shapes), tensors, *place_of(name)) for name, tensors in found.items()]


def place_of(module: str) -> tuple[str, str]:
    """Return a module's part and block: ("unet", "middle_block_1") of "lora_unet_middle_block_1_…"."""
    prefix = next((prefix for prefix in _PREFIXES if module.startswith(prefix)), "")
    path = module.removeprefix(prefix)
    if prefix in {"lora_", "oft_"}:
        part, _, path = path.partition("_")
    elif prefix == "lycoris_" or _NUMBER.match(path.partition(".")[2]) or "." not in path:
        part = ""
    else:
        part, _, path = path.partition(".")
    number = _NUMBER.search(path)
    return part, path[: number.end()] if number else path


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts texts by their numbers: block 2 before block 10."""
    words = re.split(r"(\d+)", text)
    return tuple((int(word), "") if word.isdigit() else (-1, word) for word in words)


def _split(name: str) -> tuple[str, str]:
    found = split_name(name)
    if found is not None:
        return found
    match = _TAILS.search(name)
    if match is not None:
        return name[: match.start()], match[1]
    module, _, tail = name.rpartition(".")
    return module, tail


def _kind(tensors: Mapping[str, str], shapes: Mapping[str, Shape]) -> str:
    kind = next((kind for start, kind in _KINDS.items() if _begins(tensors, start)), UNKNOWN)
    if kind in _FACTORS and not {DOWN, UP} <= set(tensors):
        return f"{kind} without {DOWN if UP in tensors else UP}"
    blocks = shapes.get(tensors.get("oft_blocks", ""), ())
    return "BOFT" if len(blocks) == _BUTTERFLY else kind


def _begins(tensors: Collection[str], start: str) -> bool:
    return any(tail.startswith(start) for tail in tensors)
