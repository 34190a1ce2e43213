"""Ways to make a run fit that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, ModelOptions
from loracore.config.config import Config
from loracore.config.options import MemoryOptions

#: What ``memory = "auto"`` decides.
DECIDED = ("gradient_checkpointing", "checkpointed_blocks", "blocks_to_swap", "cpu_offload_checkpointing")


def memory_findings(config: Config) -> Iterator[Finding]:
    """Give options that say what memory auto is to find out, and blocks that are named beside all of them."""
    model = config[ModelOptions]
    if config[MemoryOptions].memory == "auto":
        for name in DECIDED:
            if config.given(name):
                message = f"memory = auto decides {name}, which is given too"
                yield Finding("wrong", name, message, f"leave out {name}, or memory")
    if model.gradient_checkpointing and model.checkpointed_blocks:
        message = "gradient_checkpointing is for all blocks, checkpointed_blocks for some"
        yield Finding("wrong", "checkpointed_blocks", message, "leave out one of them")
