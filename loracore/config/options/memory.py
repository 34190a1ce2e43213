"""How a run is made to fit into its device's memory: as it is told, or by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option

#: Bytes, in `memory_budget` and in what is said of a plan.
GB = 10**9


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How a run is made to fit into its device's memory; nothing here changes what is trained."""

    memory: Annotated[
        Literal["given", "auto"],
        option("auto: checkpointing and block swap as the device needs them, see `loracore plan`; given: as given"),
    ] = "given"
    memory_budget: Annotated[
        float | None,
        option("GB (10^9 bytes) of the device for memory auto and `loracore plan` (unset: what is free)", gt=0, le=1e6),
    ] = None
