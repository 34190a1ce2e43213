"""The strength that files in diffusers' and PEFT's layout give to their LoRA modules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loracore.errors import DataError
from loracore.weights.network_file import NetworkFile

#: Where diffusers keeps the settings of each part's LoRA in a file's header: "transformer.lora_alpha" and so on.
SETTINGS = "lora_adapter_metadata"
PEFT = "base_model.model"  # how names begin in files that PEFT itself writes
_PEFT_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """PEFT's settings by part; a part without any has alpha = rank."""

    by_part: Mapping[str, Mapping[str, Any]]

    def scale(self, module: str, rank: int) -> float:
        """Return alpha / rank of a module by its whole name, as PEFT looks it up (LoraConfig, "alpha_pattern")."""
        part = next((part for part in self.by_part if module.startswith(f"{part}.")), None)
        if part is None:
            return 1.0
        settings, path = self.by_part[part], module.removeprefix(f"{part}.")
        patterns: Mapping[str, float] = settings.get("alpha_pattern") or {}
        own = (alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", path))
        alpha = next(own, settings.get("lora_alpha", rank))
        return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def read_settings(file: NetworkFile) -> Settings:
    """Return the settings in a file's header, or for PEFT's own files in the adapter_config.json beside it.

    Raises DataError when they cannot be read.
    """
    return _in_header(file) if SETTINGS in file.metadata else _beside(file)


def _in_header(file: NetworkFile) -> Settings:
    try:
        flat = json.loads(file.metadata[SETTINGS])
        found: dict[str, dict[str, Any]] = {}
        for name, value in flat.items():
            part, _, setting = name.partition(".")
            found.setdefault(part, {})[setting] = value
    except (ValueError, AttributeError) as error:
        message = f"the header's {SETTINGS} is not what diffusers writes"
        raise DataError(message, where=str(file.path)) from error
    return Settings(found)


def _beside(file: NetworkFile) -> Settings:
    if not any(name.startswith(f"{PEFT}.") for name in file.shapes):
        return Settings({})
    path = file.path.with_name(_PEFT_CONFIG)
    try:
        return Settings({PEFT: json.loads(path.read_text(encoding="utf-8"))})
    except (OSError, ValueError) as error:
        message = f"PEFT keeps this file's alpha in {_PEFT_CONFIG}, which cannot be read"
        raise DataError(message, where=str(path), fix="put it beside the file") from error
