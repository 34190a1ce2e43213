"""Parts of the base model that the options leave out of what is written."""

from __future__ import annotations

from loracore.config.config import Config


def how_to_write(config: Config) -> str:
    """Return what to do about parts that are not written: the architecture's switches for that, where it has any."""
    switches = [f"--{name}" for name, value in config if name.startswith("save_") and value is False]
    return f"of {', '.join(switches)}, add those that write these parts" if switches else "use the whole base model"
