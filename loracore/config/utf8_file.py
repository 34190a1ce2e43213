"""A text file in UTF-8, as users write configurations and prompts."""

from __future__ import annotations

from pathlib import Path

from loracore.errors import ConfigError


def utf8_text(path: Path) -> str:
    """Return what the file says, without a byte-order mark.

    Raises ConfigError, naming the line, where it is not UTF-8, and where it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError("this is not UTF-8 text", where=f"{path}:{line}", fix="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
