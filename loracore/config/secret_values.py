"""Values of options that are written nowhere, kept out of what is written and said."""

from __future__ import annotations

from collections.abc import Sequence

from loracore.config.config import Config

_HIDDEN = "(hidden)"


def secret_names(config: Config) -> tuple[str, ...]:
    """Return the names of the options that are written nowhere."""
    shown = config.shown()
    return tuple(name for name, _ in config if name not in shown)


def secret_values(config: Config) -> tuple[str, ...]:
    """Return the values of the options that are written nowhere, the longest first."""
    names = secret_names(config)
    values = {value for name, value in config if name in names and isinstance(value, str) and value}
    return tuple(sorted(values, key=len, reverse=True))


def without_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return a text in which ``(hidden)`` stands for every secret; ``secrets`` as ``secret_values`` gives them."""
    for secret in secrets:  # the longest first: one may be a part of another
        text = text.replace(secret, _HIDDEN)
    return text
