"""What the keys of a part begin with: readers of a file find its parts by that."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.faults import Fault
from loracore.types import LoraTarget

_HOOK = "lora_targets"
#: Says that a file is an adapter's, and nothing of a part.
_NO_PART = frozenset({"", "lora"})
_FIX = "begin it with lora_{}_, or what the field's files have: readers find parts by it"


def prefix_faults(bench: Bench, targets: Sequence[LoraTarget]) -> Iterator[Fault]:
    """Give parts whose keys have no prefix, that of another part, or its name."""
    beginnings = {part: _beginning(targets, part) for part in dict.fromkeys(target.part for target in targets)}
    for part, found in beginnings.items():
        key = next(target.key for target in targets if target.part == part)
        others = [other for other in beginnings if other != part]
        same = next((other for other in others if beginnings[other] == found), "")
        words = found.split("_")
        if found.strip("_") in _NO_PART:
            yield bench.fault(_HOOK, f"the key '{key}' lacks the prefix of its part, {part}", _FIX.format(part))
        elif part not in words and any(other in words for other in others):
            message = f"the key '{key}' names another part than its own, {part}"
            yield bench.fault(_HOOK, message, _FIX.format(part))
        elif same:
            message = f"keys of {part} begin like those of {same}, with '{found}'"
            yield bench.fault(_HOOK, message, f"give each part a prefix of its own, such as lora_{part}_")


def _beginning(targets: Sequence[LoraTarget], part: str) -> str:
    """Return what all keys of a part begin with, without what they have of their modules' paths."""
    own = [target for target in targets if target.part == part]
    return os.path.commonprefix([_head(target) for target in own])  # noqa: RUF071  # by letters: keys are no paths


def _head(target: LoraTarget) -> str:
    """Return what stands before the module's path in a key, or all of it where the file has other names."""
    path = target.paths[0].replace(".", "_") if target.paths else ""
    return target.key.removesuffix(path) if path else target.key
