"""Every hook, in the order in which a run calls them; plugins implement them with ``loracore.hookimpl``.

Nouns and verbs return a value (the first answer counts), participles are told and return nothing. A hook may take fewer
arguments than its specification. Randomness is drawn in hooks of its own, so that an extension can inject it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from loracore.config.config import Config, Finding
    from loracore.networks.adapter import Adapter
    from loracore.noise.rng import SampleRng
    from loracore.training.run import Run
    from loracore.types import (
        Batch,
        DemoKit,
        Drawing,
        Event,
        FieldFiles,
        Latents,
        LoraTarget,
        Models,
        NoisyBatch,
        Part,
        Prediction,
        TextConditioning,
    )
    from loracore.weights.layout import PartNames

#: Changes when a hook changes so that an older plugin would misbehave; plugins state it as ``LORACORE_API``.
API_VERSION = 1

hookspec = pluggy.HookspecMarker("loracore")
hookimpl = pluggy.HookimplMarker("loracore")


# ---- before anything is loaded; torch is not imported yet ----------------------------------------------------------


@hookspec
def options() -> tuple[type, ...]:  # type: ignore[empty-body]  # a specification has no body
    """Return the option dataclasses of this plugin; every plugin's answer is collected.

    Called once, right after the plugins are registered. A field is ``Annotated[type, option("help", …)] = default``.
    A class variable ``REFUSES`` may map names of options that other plugins have to a ``config.refused.Refusal``.
    """


@hookspec
def check_options(config: Config) -> Sequence[Finding]:  # type: ignore[empty-body]
    """Return what is wrong, unsupported, without effect or implied; every plugin's answer is collected.

    Called after every option has its type and range checked and before torch is imported; files may be looked at,
    quickly. Called a second time by commands that read data sets, then with ``config.datasets`` filled, which is empty
    the first time: findings that need data sets appear only then, and what was said before is not said again.
    """


# ---- models --------------------------------------------------------------------------------------------------------


@hookspec
def check_models(parts: frozenset[Part], config: Config) -> None:
    """Told once, before the first phase, which parts the run will load; whoever sees that it cannot, raises.

    Raise LoracoreError when files of these parts are missing, damaged, or of another architecture, from their headers
    alone, so that nothing is encoded for hours and lost. Nobody has to answer.
    """


@hookspec(firstresult=True)
def load_models(  # type: ignore[empty-body]
    parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config
) -> Models:
    """Return the named parts of the base model, frozen, in evaluation mode, the others absent.

    Called once for each phase of a run; ``parts`` may name single text encoders as ``Models.text`` does. With "meta"
    for ``device`` only configurations or file headers may be read, no weights. Answered by the architecture. Raises
    LoracoreError for missing files and files of another architecture.
    """


@hookspec(firstresult=True)
def cache_identity(part: Part, config: Config) -> str:  # type: ignore[empty-body]
    """Return what tells this run's part ("text", one text encoder by its name, or "vae") from those of other runs.

    Called before the part is loaded, when encoded captions or pictures are kept on disk: only what two runs call alike
    is shared, beside equal architecture, precision and options with ``affects``. Headers and times of change may be
    read, no weights. The core's default is what is known of the base model's files, and every option of the
    architecture.
    """


@hookspec(firstresult=True)
def field_files(config: Config) -> FieldFiles | None:
    """Return how the field's ``.npz`` files beside the pictures are laid out, or None when there are none for it.

    Called before anything is encoded, when latents or captions are kept on disk: what such files hold need not be
    encoded, and ``cache_format = "npz"`` writes them. Answered by the architecture; the core's default is None.
    """


@hookspec(firstresult=True)
def encode_text(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:  # type: ignore[empty-body]
    """Return the text encoders' outputs for B captions, each tensor with B in front, on the models' device.

    Called in the text phase to fill the cache, or, while a text encoder trains, in every step with gradients on. Text
    encoders for which ``lora_targets`` names no place of a rank above 0 are cached all the same: then ``models.text``
    holds those alone in the text phase, the others in a step, and both answers are put together. Answered by the
    architecture.
    """


@hookspec(firstresult=True)
def encode_images(models: Models, images: Tensor, config: Config) -> Latents:  # type: ignore[empty-body]
    """Return mean and log-variance (B,C,h,w), already scaled for the denoiser, of images (B,3,H,W in [-1, 1]).

    Called in the VAE phase without gradients. Answered by the architecture.
    """


@hookspec(firstresult=True)
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:  # type: ignore[empty-body]
    """Return every place where a network may put an adapter, in the order of the file, for the loaded parts.

    Called for the loaded parts of a run, and before that, like by `loracore targets`, with models on the meta device.
    Answered by the architecture, which knows which layers there are and what they are called in files.
    """


@hookspec(firstresult=True)
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the adapter that stands in front of this target, or None to leave its layers as they are.

    ``weights`` holds the target's tensors from ``network_weights`` when ``dim_from_weights`` asks for their ranks, else
    None. Called once for every target, on the target's device, which may be meta. Answered by the network.
    """


@hookspec(firstresult=True)
def weight_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:  # type: ignore[empty-body]
    """Return what the named parts' tensors are called in files, and how to read them; keys as in ``Models.modules``.

    Called by `loracore merge` and `loracore convert`. Only headers are read here. Answered by the architecture; the
    core's default says that this architecture's files cannot be rewritten.
    """


# ---- a step --------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def prepare_batch(  # type: ignore[empty-body]
    batch: Batch,
    rng: SampleRng,
    training: bool,  # noqa: FBT001  # hooks are called by keyword
    config: Config,
) -> Batch:
    """Return the batch as it is trained on: encoder dropout and the like, after the cache.

    Called first in every step. The core's default returns the batch as it is.
    """


@hookspec(firstresult=True)
def draw_timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return one timestep a sample (B), in [0, 1000].

    Called after ``prepare_batch``. The core's default draws integers, uniform in [min_timestep, max_timestep).
    """


@hookspec(firstresult=True)
def draw_noise(batch: Batch, rng: SampleRng, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return noise like ``batch.latents`` (B,C,h,w), float32.

    Called after ``draw_timesteps``. The core's default is standard normal.
    """


@hookspec(firstresult=True)
def noise_latents(  # type: ignore[empty-body]
    batch: Batch, noise: Tensor, timesteps: Tensor, rng: SampleRng, config: Config
) -> NoisyBatch:
    """Return the batch with the noise on it; a pure function of its arguments. Answered by the architecture.

    ``rng`` is for noise that the denoiser sees and is not to predict (``ip_noise_gamma``).
    """


@hookspec(firstresult=True)
def predict_noise(models: Models, batch: NoisyBatch, config: Config) -> Prediction:  # type: ignore[empty-body]
    """Return the denoiser's output and its target (both B,C,h,w); noise, v or flow is the architecture's business.

    Called with gradients on in every step. Answered by the architecture.
    """


@hookspec(firstresult=True)
def loss_weighting(prediction: Prediction, batch: NoisyBatch, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return one loss factor a sample (B). The core's default is ones."""


# ---- around a run --------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def generate_images(  # type: ignore[empty-body]
    models: Models,
    conditioning: TextConditioning,
    negative: TextConditioning,
    drawing: Drawing,
    rng: torch.Generator,
    config: Config,
) -> Sequence[Image]:
    """Return one picture for each row of ``conditioning``, of ``drawing.size``, drawn with the live adapters.

    ``negative`` has one row. Called with every part but the text encoders loaded, on the run's device, without
    gradients; everything random comes from ``rng``, which is on the CPU. What ``drawing`` leaves open is the
    architecture's own choice; "steps", "scale" and "sampler" in a picture's ``info`` say what it really was drawn
    with. The core's default says that this architecture draws no pictures.
    """


@hookspec(firstresult=True)
def file_metadata(models: Models, config: Config) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return what the architecture writes into a saved file's header (``ss_base_model_version``, ``modelspec.*``, …).

    Called once before the first step. The core's default adds nothing.
    """


@hookspec(firstresult=True)
def demo(config: Config) -> DemoKit | None:
    """Return an embedded tiny model with pictures, prompts and a measure, or None. The core's default is None."""


@hookspec
def run_started(run: Run) -> None:
    """Told once, when everything is assembled and before the first step."""


@hookspec
def step_done(run: Run, step: int, loss: Tensor, grad_norm: Tensor, ids: tuple[str, ...]) -> None:
    """Told after every optimizer step (1-based); ``loss`` and ``grad_norm`` are device tensors: reading them waits."""


@hookspec
def happened(run: Run, event: Event) -> None:
    """Told of everything that becomes known of a run, in plain numbers and texts, in the main process.

    A step's numbers come a few steps after ``step_done``, when the device has them: hearing of them makes nobody wait.
    docs/events.md lists the kinds of events and what each holds.
    """


@hookspec
def epoch_done(run: Run, epoch: int, step: int) -> None:
    """Told after the last step of every epoch (1-based)."""


@hookspec
def run_finished(run: Run, step: int) -> None:
    """Told once after the last step."""
