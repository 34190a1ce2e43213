"""How parts of the base model come and go: each phase of a run loads what it needs and frees it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace

import pluggy
import torch

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.memory.fitting import fit_models, load_device
from loracore.types import Models, Part
from loracore.weights.merge.base_weights import merge_base_weights


@dataclass(frozen=True, eq=False, slots=True)
class Loading:
    """How parts of the base model are loaded."""

    hook: pluggy.HookRelay
    device: torch.device
    dtype: torch.dtype
    config: Config
    sharded: bool = False  # the denoiser's blocks wait until its weights are shared
    adapt: Callable[[Models], object] | None = None  # what is done to models as soon as they are loaded
    #: Parts whose files nobody has looked at, as caches on disk may hold all that they would say.
    unchecked: frozenset[Part] = frozenset()

    def checked(self) -> Loading:
        """Return the same, the architecture having looked at the files of all parts; raises as its hook does."""
        if self.unchecked:
            self.hook.check_models(parts=self.unchecked, config=self.config)
        return replace(self, unchecked=frozenset())

    def models(self, *parts: Part) -> Models:
        """Return the named parts of the base model, on the device as far as they fit there.

        Networks of base_weights are in the weights, before these become float8 or wait for their turn; nothing is
        looked at on the meta device. Raises ConfigError when options that spare memory do not fit this model.
        """
        late = self.unchecked & frozenset(parts)
        if late:
            self.hook.check_models(parts=late, config=self.config)
        place = load_device(self.config, self.device, parts, sharded=self.sharded)
        loaded: Models = self.hook.load_models(
            parts=frozenset(parts), device=place, dtype=self.dtype, config=self.config
        )
        if self.device.type != "meta":
            merge_base_weights(self.hook, self.config, loaded)
        fit_models(loaded, self.device, self.dtype, self.config, stay=loaded.placed, sharded=self.sharded)
        if self.adapt is not None:
            self.adapt(loaded)
        return loaded


def free_memory(config: Config) -> None:
    """Give back what freed models held: reference circles in host memory, cached blocks on the card.

    With ``highvram`` these stay with torch: the next phase asks for as much again.
    """
    gc.collect()
    if torch.cuda.is_available() and not config[ModelOptions].highvram:
        torch.cuda.empty_cache()
