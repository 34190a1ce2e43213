"""What is done to the denoiser's blocks so that a run fits."""

from __future__ import annotations

from dataclasses import dataclass

from loracore.config.config import Config
from loracore.config.options import ModelOptions

#: Blocks whose numbers a line can hold.
_FEW = 12


@dataclass(frozen=True, slots=True)
class Treatment:
    """Which blocks are computed again in the backward pass, and how many wait in host memory."""

    checkpoints_all: bool = False  # of every part that lists blocks
    checkpointed: tuple[int, ...] = ()  # some of the denoiser's, in the order of execution
    swapped: int = 0
    inputs_on_host: bool = False

    @classmethod
    def of(cls, config: Config) -> Treatment:
        """Return what the options ask for."""
        model = config[ModelOptions]
        return cls(
            model.gradient_checkpointing,
            tuple(sorted(set(model.checkpointed_blocks))),
            model.blocks_to_swap or 0,
            model.cpu_offload_checkpointing,
        )

    def applied(self, config: Config) -> Config:
        """Return the options that ask for this."""
        return config.with_values(
            {
                "gradient_checkpointing": self.checkpoints_all,
                "checkpointed_blocks": self.checkpointed,
                "blocks_to_swap": self.swapped or None,
                "cpu_offload_checkpointing": self.inputs_on_host,
            }
        )

    def __str__(self) -> str:
        """Return the options that ask for this, in the words of a configuration file."""
        return self._said(f"checkpointed_blocks = {list(self.checkpointed)}")

    @property
    def short(self) -> str:
        """The same as a line can hold it: of many blocks only their number."""
        count = len(self.checkpointed)
        return self._said(f"checkpointed_blocks of {count}") if count > _FEW else str(self)

    def _said(self, blocks: str) -> str:
        said = [
            *(["gradient_checkpointing = true"] if self.checkpoints_all else []),
            *([blocks] if self.checkpointed else []),
            *([f"blocks_to_swap = {self.swapped}"] if self.swapped else []),
            *(["cpu_offload_checkpointing = true"] if self.inputs_on_host else []),
        ]
        return ", ".join(said) or "everything kept"
