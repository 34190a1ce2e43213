"""How the frozen weights of the denoiser are divided among the processes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sharding:
    """What a launcher asks of sharded weights."""

    reshard: bool = True  # a block's weights are given up behind its forward pass, and gathered again for its backward
    on_host: bool = False  # each process's share waits in host memory
