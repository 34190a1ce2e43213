"""The places where a run puts adapters: the architecture's, with the block-wise options applied."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from loracore.config.config import Config
from loracore.networks.blocks import block_targets
from loracore.types import LoraTarget, Models


def run_targets(hook: pluggy.HookRelay, models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets of the loaded parts, in the order of the file, with their own ranks and learning rates.

    Raises ConfigError for block-wise options that do not fit the model.
    """
    targets: Sequence[LoraTarget] = hook.lora_targets(models=models, config=config)
    return block_targets(targets, models, config)
