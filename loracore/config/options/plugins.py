"""Which plugins a run uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """Which plugins the run uses."""

    arch: Annotated[str | None, option("architecture of the base model: the name of an installed plugin")] = None
    network_module: Annotated[str, option("network to train: the name of an installed plugin")] = "lora"
    extensions: Annotated[tuple[str, ...], option("further plugins of this run, by name")] = ()
