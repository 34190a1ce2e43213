"""The phase that draws previews, gone through without numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loracore.config.options import PreviewOptions, TrainingOptions
from loracore.config.prompts.prompt import Prompt
from loracore.memory.planning.live_storages import LiveStorages
from loracore.memory.planning.peaks import ADAPTERS, OPTIMIZER, WEIGHTS, Phase
from loracore.training.planning.encoding import WORK, encoded_caption, named
from loracore.training.planning.on_meta import META, OnMeta
from loracore.training.planning.optimizer_size import optimizer_size
from loracore.types import Drawing

#: Steps of a sampler, of which one takes as much memory as another.
_STEPS = 2


@torch.no_grad()
def draw(run: OnMeta, prompts: Sequence[Prompt], grain: int) -> Phase:
    """Return what drawing the largest of these prompts takes, while training waits; the network is attached."""
    prompt = max(prompts, key=lambda one: one.width * one.height)
    said, config = encoded_caption(run, 1).to(META), run.plan.config
    sampler = prompt.sample_sampler or config[PreviewOptions].sample_sampler
    drawing = Drawing((prompt.width, prompt.height), _STEPS, prompt.scale, sampler, prompt.flow_shift)
    models = run.of(("denoiser", "vae"))
    live = LiveStorages(META.type, grain)
    live.hold(run.on_device(models), WEIGHTS)
    live.hold(run.network.modules.parameters(), ADAPTERS)
    live.hold_bytes(optimizer_size(run.groups, config[TrainingOptions]), OPTIMIZER)
    with live:
        run.plan.hook.generate_images(
            models=models, conditioning=said, negative=said, drawing=drawing, rng=torch.Generator(), config=config
        )
    return Phase("previews", named(live, WORK))
