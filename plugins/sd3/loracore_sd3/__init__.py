"""Stable Diffusion 3 and 3.5: this plugin's table of contents; each hook's work stands in the file that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import hookimpl
from loracore.diffusion.model_hooks import cache_identity, encode_images
from loracore.diffusion.options import FlowOptions, TokenizerOptions, VaeOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.steps.flow_hooks import draw_timesteps, loss_weighting, noise_latents
from loracore_sd3.npz_layout import field_files
from loracore_sd3.options import Sd3NetworkOptions, Sd3Options, findings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from loracore import (
        Batch,
        Config,
        DemoKit,
        Drawing,
        Finding,
        LoraTarget,
        Models,
        NoisyBatch,
        Part,
        PartNames,
        Prediction,
        Run,
        SampleRng,
        TextConditioning,
    )

LORACORE_API = 1
#: Hooks whose answers stand whole in other files, most of them for many architectures.
__all__ = ["cache_identity", "draw_timesteps", "encode_images", "field_files", "loss_weighting", "noise_latents"]


@hookimpl
def options() -> tuple[type, ...]:
    """Return the tables of this architecture's options."""
    return (Sd3Options, Sd3NetworkOptions, FlowOptions, TokenizerOptions, VaeOptions)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return what is wrong, unsupported or without effect, the model file's header included."""
    return tuple(findings(config))


@hookimpl
def check_models(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for parts whose files are missing, damaged or foreign."""
    with quiet_libraries():  # the first import of diffusers and transformers
        from loracore_sd3 import models
    models.check(parts, config)


@hookimpl
def load_models(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the parts of a checkpoint, a diffusers folder or a hub model."""
    with quiet_libraries():  # the first import of diffusers and transformers
        from loracore_sd3 import models
    return models.load(parts, device, dtype, config)


@hookimpl
def encode_text(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return what each loaded text encoder says; `text.assembled` makes the context of it."""
    from loracore_sd3 import text

    return text.encode(models, captions, config)


@hookimpl
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets in the order and with the keys of the field's files."""
    from loracore_sd3 import targets

    return targets.every(models, config)


@hookimpl
def weight_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return the names in the original layout and in diffusers' folders."""
    from loracore_sd3 import models

    return models.file_names(parts, config)


@hookimpl
def prepare_batch(batch: Batch, rng: SampleRng, training: bool, config: Config) -> Batch:  # noqa: FBT001  # a hook
    """Return the batch; in training some samples go without a text encoder, or lie elsewhere in the positions."""
    from loracore_sd3 import positions, text

    drawn = rng if training else None
    return positions.drawn(text.prepared(batch, drawn, config), drawn, config)


@hookimpl
def predict_noise(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the picture that the transformer's velocity leads to, beside the real one."""
    from loracore_sd3 import noise

    return noise.predict(models, batch, config)


@hookimpl
def generate_images(
    models: Models,
    conditioning: TextConditioning,
    negative: TextConditioning,
    drawing: Drawing,
    rng: torch.Generator,
) -> Sequence[Image]:
    """Return pictures drawn by diffusers' own pipeline."""
    from loracore.diffusion.pictures.drawing import Guidance
    from loracore_sd3 import pictures

    return pictures.generate(models, Guidance(conditioning, negative), drawing, rng)


@hookimpl
def file_metadata(models: Models, config: Config) -> Mapping[str, str]:
    """Return what tells the field's tools which base model the file is for."""
    from loracore_sd3 import metadata

    return metadata.of(models, config)


@hookimpl(trylast=True)
def run_started(run: Run) -> None:
    """Show the rank of every layer below the run's header, with `verbose`."""
    if run.config[Sd3NetworkOptions].verbose:
        for entry in run.network.entries:
            run.outlets.progress.say(f"{entry.target.key}: rank {entry.adapter.rank}")


@hookimpl
def demo() -> DemoKit:
    """Return a tiny model that learns to draw a striped fish."""
    from loracore_sd3.demo_kit import kit  # a module named demo would hide this hook

    return kit()
