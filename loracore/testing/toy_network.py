"""A toy network: two small factors in front of every layer, for tests of architectures that bring no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, NetworkOptions, hookimpl

if TYPE_CHECKING:
    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return what has no effect."""
    name = "network_alpha"
    return [Finding("without effect", name, "the toy network has no scale")] if config.given(name) else []


@hookimpl
def build_adapter(target: LoraTarget, config: Config) -> Adapter:
    """Return the pair of factors in front of a target; convolutions get them, too."""
    from loracore.testing.toy_adapter import ToyAdapter

    chosen = config[NetworkOptions].network_dim or 2
    return ToyAdapter(target, chosen if target.rank is None else target.rank)
