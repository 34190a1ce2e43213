"""A state is written when something good can follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loracore.errors import LoracoreError
from loracore.training.state.codec import packed
from loracore.training.state.folder import write_state
from loracore.weights.extremes import is_finite


def write_sound_state(path: Path, step: int, versions: dict[str, str], content: dict[str, Any]) -> None:
    """Write a state; raises LoracoreError for one that holds numbers which are not finite, OSError as `write_state`."""
    bad = [name for name, tensor in packed(content)[1].items() if not is_finite(tensor)]
    if bad:
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}: the state is not written"
        raise LoracoreError(message, where=str(path), fix="lower learning_rate")
    write_state(path, step, versions, content)
