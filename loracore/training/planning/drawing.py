"""The phase that draws previews, gone through without numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from loracore.config.options import PreviewOptions
from loracore.config.prompts.prompt import Prompt
from loracore.memory.planning.live_storages import LiveStorages
from loracore.memory.planning.peaks import COPIES, WEIGHTS, Phase
from loracore.training.planning.blaming import of_architecture
from loracore.training.planning.encoding import WORK, encoded_caption, named
from loracore.training.planning.on_meta import META
from loracore.training.planning.stepping import Stepping
from loracore.types import Drawing

#: Steps of a sampler, of which one takes as much memory as another.
_STEPS = 2


@torch.no_grad()
def draw(stepping: Stepping, prompts: Sequence[Prompt]) -> Phase:
    """Return what drawing the largest of these prompts takes, while training waits and no block is swapped."""
    run = stepping.run
    prompt = max(prompts, key=lambda one: one.width * one.height)
    said, config = encoded_caption(run, 1).to(META), run.plan.config
    sampler = prompt.sample_sampler or config[PreviewOptions].sample_sampler
    drawing = Drawing((prompt.width, prompt.height), _STEPS, prompt.scale, sampler, prompt.flow_shift)
    models = run.of(("denoiser", "vae"))
    live = LiveStorages(META.type, stepping.grain)
    live.hold(run.on_device(models), WEIGHTS)
    stepping.hold_training(live)
    with of_architecture(config), live, ExitStack() as copied:
        with live.part(COPIES):
            copied.enter_context(run.network.prepared())
        run.plan.hook.generate_images(
            models=models, conditioning=said, negative=said, drawing=drawing, rng=torch.Generator(), config=config
        )
    return Phase("previews", named(live, WORK))
