"""Parts of the base model that the options leave out of what is written."""

from __future__ import annotations

from dataclasses import fields

from loracore.config.config import Config
from loracore.config.options import CORE_OPTIONS


def unused_switches(config: Config) -> list[str]:
    """Return the architecture's own switches that write parts of the base model, and are off: ``--save_clip``."""
    core = {field.name for table in CORE_OPTIONS for field in fields(table)}
    return [f"--{name}" for name, value in config if name.startswith("save_") and value is False and name not in core]


def how_to_write(config: Config) -> str:
    """Return what to do about parts that are not written: the architecture's switches for that, where it has any."""
    switches = unused_switches(config)
    return f"of {', '.join(switches)}, add those that write these parts" if switches else "use the whole base model"
