"""Frozen weights of the denoiser's blocks that the processes of a run share: each holds a part, and gathers the rest.

A block is whole while it is computed, forwards and backwards, so that layers, adapters that look at their weights and
checkpointing see what they would see without. Outside of it a weight is a DTensor: only its shape is of use there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from loracore.config.sharding import Sharding
from loracore.errors import LoracoreError
from loracore.types import DENOISER, Models


def sharded_parameters(models: Models) -> Sequence[nn.Parameter]:
    """Return the weights that are shared: those of the denoiser's blocks, but for single numbers."""
    blocks = models.blocks.get(DENOISER, ())
    return [parameter for block in blocks for parameter in block.parameters() if parameter.dim()]


def check_shardable(models: Models) -> None:
    """Raise LoracoreError for a denoiser that names no blocks."""
    if models.denoiser is not None and not sharded_parameters(models):
        message = "FSDP: this architecture names no blocks of its denoiser that could be sharded"
        raise LoracoreError(message, where="accelerate launch", fix="leave FSDP out")


def shard_blocks(models: Models, device: torch.device, processes: int, sharding: Sharding) -> None:
    """Leave each process its share of the blocks' weights, block by block; called by every process.

    Whatever reads whole weights comes before; what shadows the forward of blocks and layers may come before or after.
    From here on every process has to run the denoiser as often as the others.
    """
    from torch.distributed.device_mesh import init_device_mesh  # half a second for those who need it
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    assert models.denoiser is not None
    mesh = init_device_mesh(device.type, (processes,))
    offload = CPUOffloadPolicy(pin_memory=device.type == "cuda") if sharding.on_host else OffloadPolicy()
    shared = {id(parameter) for parameter in sharded_parameters(models)}
    whole = {parameter for parameter in models.denoiser.parameters() if id(parameter) not in shared}
    # The denoiser itself comes last and shares nothing: it lets torch gather a block while another is computed.
    for module in (*models.blocks[DENOISER], models.denoiser):
        fully_shard(
            module, mesh=mesh, reshard_after_forward=sharding.reshard, offload_policy=offload, ignored_params=whole
        )
