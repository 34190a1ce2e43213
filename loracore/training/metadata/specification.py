"""The modelspec.* keys: ModelSpec 1.0.1 (https://github.com/Stability-AI/ModelSpec)."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import MetadataOptions, SavingOptions, TrainingOptions


def specification(config: Config, started: float, resolution: tuple[int, int]) -> dict[str, str]:
    """Return the keys of one save; ``started`` (seconds since the epoch) names a run without a name.

    What only the architecture knows (architecture, implementation, prediction_type) is not here. Raises OSError when
    the thumbnail cannot be read.
    """
    now = datetime.now(timezone.utc).astimezone().replace(microsecond=0, tzinfo=None)
    training = config[TrainingOptions]
    timesteps = config.given("min_timestep") or config.given("max_timestep")
    values = {
        **_described(config[MetadataOptions]),
        "sai_model_spec": "1.0.1",
        "title": config[MetadataOptions].metadata_title or config[SavingOptions].output_name or f"LoRA@{started}",
        "date": now.isoformat(),
        "resolution": f"{resolution[0]}x{resolution[1]}",
        "implementation_version": f"loracore/{version('loracore')}",
        "timestep_range": f"{training.min_timestep},{training.max_timestep}" if timesteps else None,
        "encoder_layer": dict(config).get("clip_skip"),
    }
    return {f"modelspec.{name}": str(value) for name, value in values.items() if value is not None}


def thumbnail_url(thumbnail: str) -> str:
    """Return a picture file as a data URL (RFC 2397), and a data URL as it is; raises OSError for no file."""
    if thumbnail.startswith("data:"):
        return thumbnail
    kind = mimetypes.guess_type(thumbnail)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(thumbnail).read_bytes()).decode('ascii')}"


def _described(options: MetadataOptions) -> dict[str, str | None]:
    """Return the ``metadata_*`` options by their keys."""
    given = {field.name.removeprefix("metadata_"): getattr(options, field.name) for field in fields(options)}
    if options.metadata_thumbnail is not None:
        given["thumbnail"] = thumbnail_url(options.metadata_thumbnail)
    return given
