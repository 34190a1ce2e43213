"""Values as a few words: what kind they are of and which shape they have, never what is in them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from loracore.types import Batch, Event, Latents, LoraTarget, Models, NoisyBatch, Prediction, TextConditioning

_LONGEST = 40  # letters of a text
_MOST = 3  # parts of a collection


def described(value: Any) -> str:
    """Return a value in a few words; of tensors kind, shape and device, so that nobody waits for a device."""
    match value:
        case None | bool() | int() | float():
            return repr(value)
        case str() | Path():
            return _shortened(str(value))
        case Mapping():
            return f"{{{_first([f'{key}: {described(each)}' for key, each in islice(value.items(), _MOST)], value)}}}"
        case list() | tuple() | set() | frozenset():
            return f"[{_first([described(each) for each in islice(value, _MOST)], value)}]"
    return _typed(value) or _of_torch(value) or type(value).__name__


def _typed(value: Any) -> str:
    """Return one of the types that hooks pass, by what tells it from others of its kind; else an empty text."""
    match value:
        case Batch():
            words = _shape(value.latents)
        case NoisyBatch():
            words = _shape(value.noisy_latents)
        case Prediction():
            words = _shape(value.output)
        case Latents():
            words = _shape(value.mean)
        case Models():
            words = ", ".join(value.modules())
        case TextConditioning():
            words = ", ".join(f"{key} ({_shape(one)})" for key, one in value.tensors.items())
        case LoraTarget():
            words = value.key
        case Event():
            words = f"{value.kind}, step {value.step}"
        case _:
            return ""
    return f"{type(value).__name__}({words})"


def _first(words: list[str], whole: Collection[Any]) -> str:
    """Return the words of a collection's first parts, and how many there are."""
    return ", ".join(words) + (f", … {len(whole)} in all" if len(whole) > len(words) else "")


def _of_torch(value: Any) -> str:
    torch = sys.modules.get("torch")  # where nobody has imported it, there are no tensors
    if torch is None or not isinstance(value, torch.Tensor | torch.device | torch.dtype):
        return value.__name__ if isinstance(value, type) else ""
    if isinstance(value, torch.Tensor):
        return f"Tensor {str(value.dtype).removeprefix('torch.')} ({_shape(value)}) {value.device}"
    return str(value)


def _shape(tensor: Any) -> str:
    return ",".join(map(str, tensor.shape))


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
