"""An extension with options that caches depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore import hookimpl, option

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class AffectingOptions:
    """One option for each cache."""

    brightness: Annotated[int, option("changes latents", affects={"latents"})] = 1
    accent: Annotated[int, option("changes texts", affects={"text"})] = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return the options."""
    return (AffectingOptions,)
