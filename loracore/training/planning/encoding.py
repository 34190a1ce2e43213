"""The phases that encode captions and pictures, gone through without numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loracore.config.options import DataOptions
from loracore.memory.planning.live_storages import ELSEWHERE, LiveStorages
from loracore.memory.planning.peaks import INPUTS, WEIGHTS, Phase
from loracore.training.caches.caching import caches_latents
from loracore.training.caches.encoding import stored_dtype
from loracore.training.planning.blaming import of_architecture
from loracore.training.planning.largest_batch import LargestBatch
from loracore.training.planning.on_meta import META, OnMeta
from loracore.types import Latents, TextConditioning

#: What computing takes beside weights, where nothing is kept for a backward pass.
WORK = "work"
_CAPTION = "a picture"


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """What a step reads, as zeros in host memory, and the phases that made it."""

    latents: Latents | None  # None: pictures are encoded in every step
    images: Tensor | None
    conditioning: TextConditioning | None  # None: captions are encoded in every step
    phases: tuple[Phase, ...]


def encode(run: OnMeta, batch: LargestBatch, grain: int) -> Encoded:
    """Encode captions and pictures as far as a run does before its first step; called before adapters are attached."""
    conditioning, text = _captions(run, batch, grain)
    latents, pictures = _pictures(run, batch, grain)
    cached = caches_latents(run.plan.config)
    images = None if cached else torch.zeros(batch.samples, 3, *reversed(batch.size))
    phases = [*([text] if text else []), *([pictures] if cached else [])]
    return Encoded(latents if cached else None, images, conditioning, tuple(phases))


def encoded_caption(run: OnMeta, rows: int) -> TextConditioning:
    """Return what all text encoders say of so many captions, as zeros in host memory."""
    return _zeros(_said(run, ("text",), rows, LiveStorages(META.type)))


def _captions(run: OnMeta, batch: LargestBatch, grain: int) -> tuple[TextConditioning | None, Phase | None]:
    parts = run.plan.text.cached
    if not parts:
        return None, None
    conditioning = _zeros(_said(run, parts, batch.samples, LiveStorages(META.type)))
    here = [name for name in run.of(parts).text if name not in run.models.placed]
    if not here:
        return conditioning, None
    rows = _at_once(run.plan.config[DataOptions].text_encoder_batch_size, batch)
    live = LiveStorages(META.type, grain)
    live.hold(run.on_device(run.of(here)), WEIGHTS)
    _said(run, here, rows, live)
    return conditioning, Phase("captions", named(live))


@torch.no_grad()
def _said(run: OnMeta, parts: tuple[str, ...] | list[str], rows: int, live: LiveStorages) -> TextConditioning:
    models, config = run.of(parts), run.plan.config
    with of_architecture(config), live:
        found: TextConditioning = run.plan.hook.encode_text(models=models, captions=[_CAPTION] * rows, config=config)
    return found


@torch.no_grad()
def _pictures(run: OnMeta, batch: LargestBatch, grain: int) -> tuple[Latents, Phase]:
    """Return the latents of a batch, and the phase that encodes pictures."""
    plan, models, live = run.plan, run.of(("vae",)), LiveStorages(META.type, grain)
    live.hold(run.on_device(models), WEIGHTS)
    rows = _at_once(plan.config[DataOptions].vae_batch_size, batch)
    with of_architecture(plan.config), live:
        with live.part(INPUTS):
            images = torch.zeros(rows, 3, *reversed(batch.size), device=META)
        found = plan.hook.encode_images(models=models, images=images, config=plan.config)
    zeros = torch.zeros(batch.samples, *found.mean.shape[1:], dtype=stored_dtype(plan.loading.dtype))
    return Latents(zeros, zeros), Phase("pictures", named(live))


def named(live: LiveStorages, elsewhere: str = WORK) -> dict[str, int]:
    """Return bytes by part at the peak; ``elsewhere`` is what the unnamed part is called."""
    parts = {elsewhere if part == ELSEWHERE else part: size for part, size in live.parts_at_peak.items()}
    return {part: size for part, size in parts.items() if size}


def _at_once(wanted: int, batch: LargestBatch) -> int:
    return wanted if batch.pictures is None else min(wanted, batch.pictures)


def _zeros(said: TextConditioning) -> TextConditioning:
    return TextConditioning({name: torch.zeros(one.shape, dtype=one.dtype) for name, one in said.tensors.items()})
