"""What an architecture's hooks raise when they are gone through without weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loracore.config.config import Config
from loracore.config.options import PluginOptions
from loracore.errors import LoracoreError


@contextmanager
def of_architecture(config: Config) -> Iterator[None]:
    """Raise LoracoreError where a plugin asks for what tensors without numbers cannot give, whatever it raises."""
    try:
        yield
    except (LoracoreError, MemoryError):
        raise
    except Exception as error:
        said = f"{config[PluginOptions].arch} cannot be gone through without weights: {type(error).__name__}: {error}"
        raise not_gone_through(said) from error


def not_gone_through(message: str) -> LoracoreError:
    """Return the error that says why the steps of an architecture cannot be counted."""
    fix = "give gradient_checkpointing or blocks_to_swap by hand; whoever wrote the plugin may mend it"
    return LoracoreError(message, where="--arch", fix=fix)
