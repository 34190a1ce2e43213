"""A step of a run without numbers: its own options, draws, plugin and loss, on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.launches import META
from loracore import Models
from loracore.cli.request import read_request
from loracore.data.framings import joined
from loracore.data.index import Index
from loracore.data.scanning import Scanned
from loracore.networks.network import Network
from loracore.training.assembly.plan import Plan
from loracore.training.planning.encoding import Encoded, encode
from loracore.training.planning.largest_batch import LargestBatch, batch_of_options
from loracore.training.planning.on_meta import on_meta
from loracore.training.processes import Processes
from loracore.training.steps.step import Forward
from loracore.types import Examples, Framing


def losses_of_run(arch: str, rank: int, models: Models, network: Network) -> Callable[[], Tensor]:
    """Return what computes the loss of one step as training does, for a denoiser and network on the meta device.

    Options are the field's usual ones in bf16, everything cached; the cached samples wait in host memory.
    """
    words = ["--arch", arch, "--network_dim", str(rank), "--network_alpha", "8", "--network_train_unet_only"]
    words += ["--mixed_precision", "bf16", "--cache_latents", "--cache_text_encoder_outputs"]
    request = read_request(words)
    nothing = _no_pictures()
    processes, scanned = Processes(torch.device("cuda"), 0, 1), Scanned(nothing, nothing)
    run = on_meta(Plan(request.config, request.plugins.hook, processes, 0, (), scanned, None, ()))
    batch = batch_of_options(request.config)
    examples = _examples(batch, encode(run, batch, grain=1))
    bare = replace(run.models, text={}, vae=None, blocks={}, denoiser=models.denoiser, together=models.together)
    forward = Forward(run.plan.hook, bare, run.plan.config, META, 0, network)

    def loss() -> Tensor:
        network.draw_masks(forward.adapter_rng(examples))
        return forward.losses(examples).sum() / batch.samples

    return loss


def _examples(batch: LargestBatch, encoded: Encoded) -> Examples:
    count = batch.samples
    return Examples(
        ids=("",) * count,
        epoch=0,
        positions=tuple(range(count)),
        captions=("a picture",) * count,
        framings=(Framing(batch.size, batch.size, (0, 0), batch.size),) * count,
        loss_weights=(1.0,) * count,
        images=None,
        latents=encoded.latents,
        conditioning=encoded.conditioning,
        attributes=({},) * count,
    )


def _no_pictures() -> Index:
    small, large = np.empty(0, dtype=np.uint16), np.empty(0, dtype=np.uint32)
    return Index((), joined([]), (), small, large, large, small, large)
