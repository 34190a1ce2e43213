"""A memory plan in words: what a treatment costs, why it was chosen, and what else would help."""

from __future__ import annotations

from collections.abc import Iterator

from loracore.config.options import ModelOptions, TrainingOptions
from loracore.config.options.memory import GB
from loracore.memory.block_swap import rotating_places
from loracore.memory.block_weights import size_in_slot
from loracore.memory.planning.peaks import StepCount, largest
from loracore.training.caches.caching import caches_latents
from loracore.training.planning.memory_plan import MemoryPlan


def effort(plan: MemoryPlan, step: StepCount) -> str:
    """Return what a treatment costs beside a step that keeps everything."""
    treatment = step.treatment
    if not (treatment.checkpoints_all or treatment.checkpointed or treatment.swapped):
        return "nothing is computed twice"
    kept = plan.stepping.count(type(treatment)())
    more = f"{step.flops / max(kept.flops, 1) - 1:+.0%} arithmetic"
    if not treatment.swapped:
        return more
    blocks = plan.stepping.blocks
    moved = sum(size_in_slot(blocks[place]) for place in rotating_places(len(blocks), treatment.swapped))
    return f"{more}, {moved / GB:.2f} GB copied to the device in each pass"


def reasons(plan: MemoryPlan, step: StepCount, budget: int) -> Iterator[str]:
    """Give in a few lines why a treatment was chosen for so many bytes."""
    treatment, blocks = step.treatment, plan.stepping.blocks
    if plan.needed(step) > budget:
        phase = largest(plan.phases(step))
        yield f"even so it does not fit: {phase.name} need {(phase.peak + plan.reserve) / GB:.2f} GB"
        return
    if treatment.swapped:
        yield "computing all blocks again is not enough: weights have to wait in host memory, as few as must"
    elif treatment.checkpoints_all:
        yield "every block computes its activations again: fewer would not fit"
    elif treatment.checkpointed:
        count = len(treatment.checkpointed)
        yield f"{count} of {len(blocks)} blocks compute their activations again: those that give most for their work"
    else:
        yield "everything fits: nothing has to be computed twice"


def proposals(plan: MemoryPlan, step: StepCount) -> Iterator[str]:
    """Give what would take less, but changes results or the meaning of other options: it is never done by itself."""
    config = plan.stepping.run.plan.config
    model, training = config[ModelOptions], config[TrainingOptions]
    phase = largest(plan.phases(step))
    if phase.name == "captions":
        yield "text_encoder_batch_size = 1; fp8_base: text encoders in 8 bits, which changes results"
        yield "text encoders on the host, where the architecture has an option for it, or captions cached before"
        return
    if phase.name == "pictures":
        yield "vae_batch_size = 1, or a smaller resolution"
        return
    if phase.name == "previews":
        yield "smaller previews (--w and --h in a prompt), or none"
    if not (model.fp8_base or model.fp8_base_unet) and model.base_model_precision == "given":
        yield 'base_model_precision = "fp8_scaled", "int8" or "nf4": the denoiser in fewer bits, which changes results'
    if training.optimizer_type == "AdamW" and not training.use_8bit_adam:
        yield 'optimizer_type = "AdamW8bit": a quarter of the optimizer\'s state'
    if plan.batch.samples > 1:
        parts = plan.batch.samples * training.gradient_accumulation_steps
        yield f"train_batch_size = 1 with gradient_accumulation_steps = {parts}: the same step, in parts"
    if not caches_latents(config):
        yield "cache_latents: the VAE leaves the device before the first step"
