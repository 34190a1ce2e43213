"""Accelerate's configuration of FSDP, which reaches its processes as environment variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import MappingProxyType

from loracore.config.config import Config
from loracore.config.sharding import Sharding
from loracore.errors import ConfigError, Problem

_WHERE = "accelerate launch"
#: FSDP 1's strategies, by name and number: whether weights are given up behind the forward pass.
_STRATEGIES = MappingProxyType({"FULL_SHARD": True, "1": True, "SHARD_GRAD_OP": False, "2": False})
#: What is not done → what to do in its place.
_OWN = MappingProxyType(
    {
        "ACTIVATION_CHECKPOINTING": "leave it out, and set gradient_checkpointing",
        "ACTIVATION_CHECKPOINTING_OFFLOAD": "leave it out, and set cpu_offload_checkpointing",
        "FORWARD_PREFETCH": "leave it out: torch gathers a block's weights when it comes to it",
    }
)


def wanted_sharding(config: Config) -> Sharding | None:
    """Return what accelerate's configuration asks for; None where it says nothing of FSDP.

    Raises ConfigError for what is not done, and for options that cannot be kept with it.
    """
    if not _is_set("ACCELERATE_USE_FSDP"):
        return None
    problems = [*_not_done(), *_conflicts(config)]
    if problems:
        raise ConfigError.of(problems)
    return Sharding(reshard=_reshards() is True, on_host=_is_set("FSDP_OFFLOAD_PARAMS"))


def _reshards() -> bool | None:
    """Return whether weights are given up behind the forward pass; None for a strategy that is not done."""
    if os.environ.get("FSDP_VERSION", "1") == "1":
        return _STRATEGIES.get(os.environ.get("FSDP_SHARDING_STRATEGY", "FULL_SHARD").upper())
    return _is_set("FSDP_RESHARD_AFTER_FORWARD", "true")


def _not_done() -> Iterator[Problem]:
    if _reshards() is None:
        strategy = os.environ["FSDP_SHARDING_STRATEGY"]
        message = f"fsdp_sharding_strategy {strategy} is not done: weights are divided among all processes"
        yield Problem(message, _WHERE, "use FULL_SHARD or SHARD_GRAD_OP, or leave FSDP out")
    for name, fix in _OWN.items():
        if _is_set(f"FSDP_{name}"):
            yield Problem(f"fsdp_{name.lower()} is not done", _WHERE, fix)
    if os.environ.get("FSDP_IGNORED_MODULES"):
        yield Problem("fsdp_ignored_modules is not done", _WHERE, "leave it out: the denoiser's blocks are sharded")


def _conflicts(config: Config) -> Iterator[Problem]:
    if config.given("blocks_to_swap"):
        message = "FSDP and blocks_to_swap both move the weights of blocks"
        yield Problem(message, config.place("blocks_to_swap"), "leave it out, and set fsdp_offload_params if need be")


def _is_set(name: str, otherwise: str = "false") -> bool:
    return os.environ.get(name, otherwise).lower() in {"true", "1"}
