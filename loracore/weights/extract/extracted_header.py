"""What stands in the header of an extracted LoRA: the field's ss_* and modelspec.* keys that need no run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import ModelOptions


@dataclass(frozen=True, eq=False, slots=True)
class Extraction:
    """What is extracted from what."""

    config: Config
    tuned: str
    path: Path
    ranks: Sequence[int]  # of every module


def metadata(extraction: Extraction, said: Mapping[str, str]) -> dict[str, str]:
    """Return the header of the file; ``said`` is what the architecture says of the base model."""
    base = extraction.config[ModelOptions].pretrained_model_name_or_path or ""
    rank = Counter(extraction.ranks).most_common(1)[0][0] if extraction.ranks else 0
    now = datetime.now(timezone.utc).astimezone().replace(microsecond=0, tzinfo=None)
    return {
        **said,
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "ss_sd_model_name": _name(base),
        "ss_training_comment": f"the difference of {_name(extraction.tuned)} and {_name(base)}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": extraction.path.stem,
        "modelspec.date": now.isoformat(),
        "modelspec.implementation_version": f"loracore/{version('loracore')}",
    }


def _name(model: str) -> str:
    """Return a file's or folder's own name, or a hub id whole."""
    return Path(model).name if Path(model).exists() else model
