"""A toy network: two small factors in front of every layer, for tests of architectures that bring no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore import Config, LoraTarget, NetworkOptions, hookimpl

if TYPE_CHECKING:
    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def build_adapter(target: LoraTarget, config: Config) -> Adapter:
    """Return the pair of factors in front of a target; convolutions get them, too."""
    from loracore.testing.toy_adapter import ToyAdapter

    return ToyAdapter(target, min(config[NetworkOptions].network_dim or 2, 2))
