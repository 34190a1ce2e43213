"""Several processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How many processes train, and how long they wait for each other."""

    num_processes: Annotated[
        int | None, option("start so many processes, one for each device (unset: as a launcher says, or 1)", ge=1)
    ] = None
    ddp_timeout: Annotated[
        int | None, option("minutes that processes wait for each other (unset: as torch does)", ge=1)
    ] = None
    ddp_gradient_as_bucket_view: Annotated[bool, option("without effect: gradients are summed as one flat buffer")] = (
        False
    )
    ddp_static_graph: Annotated[bool, option("without effect: gradients are summed as one flat buffer")] = False
