"""Spellings of tensors in LoRA files, and files that are told by them to be something else."""

from __future__ import annotations

import re
from collections.abc import Collection

from loracore.errors import Problem

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
MID = "lora_mid.weight"  # the third factor of a convolution (Tucker decomposition): up · mid · down
MAGNITUDE = "dora_scale"  # DoRA's norms of the weight's rows or columns
#: The spellings of a module's tensors behind its path in diffusers' layout; alike in older files and PEFT's own.
_TAILS = re.compile(
    r"\.(?:(?P<down>lora_A|lora\.down|lora_down|lora_linear_layer\.down)"
    r"|(?P<up>lora_B|lora\.up|lora_up|lora_linear_layer\.up))(?:\.default(?:_\d+)?)?\.weight$"
    r"|\.(?P<alpha>alpha)$"
    r"|\.(?P<magnitude>lora_magnitude_vector)(?:\.default(?:_\d+)?)?(?:\.weight)?$"
)


def split_name(name: str) -> tuple[str, str] | None:
    """Return a diffusers tensor's module and what it is there (DOWN, UP, ALPHA or MAGNITUDE), or None."""
    match = _TAILS.search(name)
    if match is None:
        return None
    kinds = {"down": DOWN, "up": UP, "alpha": ALPHA, "magnitude": MAGNITUDE}
    return name[: match.start()], next(kind for group, kind in kinds.items() if match[group])


def base_model(names: Collection[str], where: str) -> Problem | None:
    """Return the problem that a file holds a whole model or a part of one, not what changes it; else None."""
    if any("lora" in name.lower() or name.startswith("lycoris_") for name in names):
        return None
    example = next((name for name in names if name.endswith((".weight", ".bias"))), None)
    if example is None:
        return None
    message = f"this is a base model's checkpoint, not a LoRA ('{example}')"
    return Problem(message, where, "give a LoRA file; a base model is given as --pretrained_model_name_or_path")


def misnamed(names: Collection[str], where: str) -> Problem | None:
    """Return the problem of a base model and of a LoRA with diffusers' names where kohya's are read; else None."""
    others = [name for name in names if not name.startswith("lora_") and split_name(name) is not None]
    if len(others) * 2 <= len(names):
        return base_model(names, where)
    message = f"the file has the names of diffusers and PEFT, for example '{others[0]}', not kohya's"
    return Problem(
        message, where, "rename them first: loracore convert --arch NAME --network_weights FILE --save_to NEW"
    )
