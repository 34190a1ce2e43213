"""A line of a file of prompts: the text, and the field's options behind it (``a cat --w 768 --n blurry``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from loracore.config.prompts.prompt import MOST_STEPS, Remark

#: An option → its key, and what stands behind it.
_OPTIONS: Mapping[str, tuple[str, Literal["whole", "number", "text"]]] = MappingProxyType(
    {
        "w": ("width", "whole"),
        "h": ("height", "whole"),
        "d": ("seed", "whole"),
        "s": ("sample_steps", "whole"),
        "l": ("scale", "number"),
        "g": ("guidance_scale", "number"),
        "n": ("negative_prompt", "text"),
        "ss": ("sample_sampler", "text"),
        "cn": ("controlnet_image", "text"),
        "ctr": ("cfg_trunc_ratio", "number"),
        "rcfg": ("renorm_cfg", "number"),
        "fs": ("flow_shift", "text"),
    }
)
_WHOLE = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")


def read_line(line: str, where: str) -> tuple[dict[str, Any], list[Remark]]:
    """Return a line's values by key, and what is said of options that could not be used.

    An option begins behind " --", in letters of either case; the last one of a name wins. As in the field, a prompt
    that begins like an option ("w 300 …") sets it and keeps these words.
    """
    text, *pieces = line.split(" --")
    values: dict[str, Any] = {"prompt": text.strip()}
    own, _ = _option(text, where)
    remarks = [
        Remark("without effect", f"the prompt begins like an option and sets {key} to {value!r}", where=where)
        for key, value in own.items()
    ]
    values |= own
    for piece in pieces:
        found, said = _option(piece, where)
        values |= found
        remarks += said
    return values, remarks


def _option(piece: str, where: str) -> tuple[dict[str, Any], list[Remark]]:
    """Return the key and value of an option, or what is wrong with it."""
    name, _, rest = piece.strip().partition(" ")
    if name.lower() not in _OPTIONS:
        known = ", ".join(f"--{one}" for one in _OPTIONS)
        message = f"'--{name}' is no option of a prompt: it and what follows it are left out"
        return {}, [Remark("without effect", message, f"known are {known}", where)]
    key, kind = _OPTIONS[name.lower()]
    rest = rest.strip()
    if kind == "text":
        wrong = Remark("wrong", f"--{name} needs a text behind it", where=where)
        return ({key: rest}, []) if rest else ({}, [wrong])
    word, _, surplus = rest.partition(" ")
    pattern, demand = (_WHOLE, "a whole number") if kind == "whole" else (_NUMBER, "a number")
    if not pattern.fullmatch(word):
        fix = f"write {demand} that is not below 0, or leave the option out"
        return {}, [Remark("wrong", f"--{name} '{word}': this is not {demand}", fix, where)]
    value = int(word) if kind == "whole" else float(word)
    remarks = [Remark("without effect", f"--{name} {word}: '{surplus}' is left out", where=where)] if surplus else []
    if key == "sample_steps" and not 1 <= value <= MOST_STEPS:
        kept = min(max(int(value), 1), MOST_STEPS)
        remarks.append(Remark("without effect", f"--{name} {word} becomes {kept}", where=where))
        value = kept
    return {key: value}, remarks
