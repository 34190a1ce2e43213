"""Every hook, in the order in which a run calls them; plugins implement them with ``loracore.hookimpl``.

Nouns and verbs return a value (the first answer counts), participles are told and return nothing. A hook may take fewer
arguments than its specification. Randomness is drawn in hooks of its own, so that an extension can inject it.
``docs/make_hooks.py`` makes the reference of these docstrings.
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

#: What goes away says so for one minor version, to whoever runs a plugin that uses it: a hook by ``warn_on_impl``, an
#: argument by ``warn_on_impl_args = {"name": DeprecationWarning("goes away in loracore 0.3: take …")}``.
hookspec = pluggy.HookspecMarker("loracore")
hookimpl = pluggy.HookimplMarker("loracore")


# ---- before anything is loaded; torch is not imported yet ----------------------------------------------------------


@hookspec
def options() -> tuple[type, ...]:  # type: ignore[empty-body]  # a specification has no body
    """Return the option dataclasses of this plugin, frozen.

    Called once, right after the plugins are registered; also for help, completion and the JSON Schema, so that no torch
    is imported for it. A field is ``name: Annotated[type, option("one line of help")] = default``; its value comes back
    by class: ``config[MyOptions].name``. The name belongs to its owner alone: a name that another plugin of the run
    declares is an error. docs/plugins.md says what ``option`` takes. A class variable ``REFUSES`` may map names of
    options that other plugins have, or that this one had, to a ``Refusal``: whoever gives such an option reads why this
    run has it not. Answered by everybody.
    """


@hookspec
def check_options(config: Config) -> Sequence[Finding]:  # type: ignore[empty-body]
    """Return what is wrong, unsupported, without effect or implied; everybody's findings count.

    Called after every option has its type and range checked and before torch is imported; files may be looked at,
    quickly. Called a second time by commands that read data sets (`train`, `cache`, `check`), then with
    ``config.datasets`` filled, which is empty the first time: findings that need data sets appear only then. Answer the
    same about the options each time: what was said before is not said again.

    "wrong" and "unsupported" are errors, all of a run's shown at once, with exit code 2; "without effect" is a line in
    the run's header, and the run goes on; "implied" gives an option that the user did not give the ``value`` that
    follows from something else: all plugins judge again with it, and the header says so. ``config.given(name)`` tells
    whether the user gave an option. The place (file:line or flag) is added by the core, unless the finding has a
    ``where`` of its own: that of a data set is the ``place`` of its first subset. Answered by everybody.
    """


# ---- models --------------------------------------------------------------------------------------------------------


@hookspec
def check_models(parts: frozenset[Part], config: Config) -> None:
    """Told before the first phase which parts the run will load; whoever sees that it cannot, raises.

    Parts that a run does without where its caches on disk hold everything are told of by themselves, as soon as it is
    known that something has to be encoded.

    Raise DataError when files of these parts are missing, damaged, or of another architecture, from their headers
    alone, so that nothing is encoded for hours and lost. Answered by the architecture; nobody has to: then files are
    found wrong when they are loaded.
    """


@hookspec(firstresult=True)
def load_models(  # type: ignore[empty-body]
    parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config
) -> Models:
    """Return the named parts of the base model, frozen, in evaluation mode, on the device, the others absent.

    Called once for each phase of a run: with {"text"} to encode captions, {"vae"} to encode pictures, then with what
    the steps need. Each phase's models are freed before the next are loaded: keep no reference. ``parts`` holds "text"
    (every text encoder), "vae", "denoiser", or names of single text encoders as ``Models.text`` has them ("te3").
    ``dtype`` is the precision of the frozen weights. With "meta" for ``device`` only configurations or file headers may
    be read, no weights (`loracore targets` asks so). It need not be the training device: where blocks swap, the core
    asks for the CPU and moves parameters and buffers itself. Raises DataError for files that are missing, broken, or of
    another architecture. Answered by the architecture.
    """


@hookspec(firstresult=True)
def cache_identity(part: Part, config: Config) -> str:  # type: ignore[empty-body]
    """Return a text that differs whenever what this part says of a picture or a caption may differ.

    Called before the part ("vae", "text", or one text encoder by its name) is loaded, when encoded captions or pictures
    are kept on disk: only what two runs call alike is shared. Architecture, precision, options with ``affects``, and
    packages and versions of all plugins that answer or wrap ``encode_images`` or ``encode_text`` are in the key
    already. Of files that options name, take sizes, times of change and a few samples, of a model on the hub its
    revision; headers may be read, no weights. The core's default takes every option of the architecture and the sizes
    and times of the files behind it, so that an option that changes nothing makes everything be encoded anew; and it
    knows a model of the hub by its name alone, so that a new revision goes unnoticed. Architectures on diffusers import
    ``loracore.diffusion.model_hooks.cache_identity``. Answered by the architecture, else by the core.
    """


@hookspec(firstresult=True)
def field_files(config: Config) -> FieldFiles | None:
    """Return how the field's ``.npz`` files beside the pictures are laid out, or None when there are none for it.

    Called before anything is encoded, when latents or captions are kept on disk: what valid files hold is not encoded
    again, and ``cache_format = "npz"`` writes them. Other tools' captions are not taken while an option with
    ``affects={"text"}`` differs from its default, unless it is one of ``TextFile.flags`` or ``TextFile.recorded``.
    Answered by the architecture, else by the core.
    """


@hookspec(firstresult=True)
def encode_text(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:  # type: ignore[empty-body]
    """Return the text encoders' outputs for B captions: tensors under names of your choice, each with B in front.

    On the models' device. Called in the text phase, without gradients, to fill the cache, or, while a text encoder
    trains, in every step with gradients on. ``predict_noise`` and ``generate_images`` get the answer back as
    ``batch.batch.conditioning["name"]`` and ``conditioning["name"]``. A row depends on its own caption alone, since
    rows are cached one by one.

    Text encoders for which ``lora_targets`` names no place of a rank above 0, or whose adapters all have learning rate
    0 and do not come from ``network_weights``, are cached all the same: then ``models.text`` holds those alone in the
    text phase, the others in a step. Return the tensors of those that are there, under names of their own; both answers
    are put together. Answered by the architecture.
    """


@hookspec(firstresult=True)
def encode_images(models: Models, images: Tensor, config: Config) -> Latents:  # type: ignore[empty-body]
    """Return mean and log-variance (B,C,h,w), already shifted and scaled for the denoiser.

    ``images`` are B,3,H,W in [-1, 1], all of one size. Called in the VAE phase without gradients, or, with
    ``no_cache_latents``, in every step. The core draws from the answer, by sample and step; a row depends on its own
    picture alone. Answered by the architecture.
    """


@hookspec(firstresult=True)
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:  # type: ignore[empty-body]
    """Return every place where a network may put an adapter, in the order of the file, for the loaded parts.

    Called for the loaded parts of a run, and before that, like by `loracore targets`, with models on the meta device;
    the answer is the same there. The layers are ``nn.Linear`` or ``nn.Conv2d``. Keys differ from one another. Options
    for single blocks set rank, alpha, ``lr`` and ``group`` of a target after this and before ``build_adapter``.
    Answered by the architecture.
    """


@hookspec(firstresult=True)
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the adapter that stands in front of this target, or None to leave its layers as they are.

    Called once for every target that trains and whose rank is not 0. ``weights`` holds the target's tensors from
    ``network_weights`` when ``dim_from_weights`` asks for their ranks, or those of the file that `loracore merge` and
    `loracore convert` read, else None. Layers may be on the meta device; an adapter for them is on it, too. Others the
    core moves to the run's device. Torch's global generator is seeded for each target of a run, so that an adapter's
    start depends on seed and key alone. Answered by the network.
    """


@hookspec(firstresult=True)
def weight_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:  # type: ignore[empty-body]
    """Return what the named parts' tensors are called in files, and how to read them; keys as in ``Models.modules``.

    Called by `loracore merge`, `loracore convert` and `loracore extract`. Leave out parts that a merged checkpoint
    should not hold. Only headers are read here; ``PartNames.read`` gives the tensors one after the other. Answered by
    the architecture, else by the core.
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

    Called first in every step; ``training`` is False in validation. A batch is frozen: make another one by
    ``dataclasses.replace``, or return it as it is. Answered by the architecture or an extension, else by the core.
    """


@hookspec(firstresult=True)
def draw_timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return one timestep a sample (B), in [0, 1000], whole numbers or not.

    Called after ``prepare_batch``. In validation, too, which then sets fixed timesteps of this scale in their place;
    losses are shown by them. Answered by the architecture or an extension, else by the core.
    """


@hookspec(firstresult=True)
def draw_noise(batch: Batch, rng: SampleRng, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return noise like ``batch.latents`` (B,C,h,w), float32.

    Called after ``draw_timesteps``. Answered by the architecture or an extension, else by the core.
    """


@hookspec(firstresult=True)
def noise_latents(  # type: ignore[empty-body]
    batch: Batch, noise: Tensor, timesteps: Tensor, rng: SampleRng, config: Config
) -> NoisyBatch:
    """Return the batch with the noise on it; a pure function of its arguments.

    Called after ``draw_noise``. ``sigma`` (B) of the answer is the noise's share against the picture's. ``rng`` is for
    noise that the denoiser sees and is not to predict (``ip_noise_gamma``). Answered by the architecture.
    """


@hookspec(firstresult=True)
def predict_noise(models: Models, batch: NoisyBatch, config: Config) -> Prediction:  # type: ignore[empty-body]
    """Return the denoiser's output and its target (both B,C,h,w); noise, v or flow is the architecture's business.

    Called in every step with gradients on, in validation without. The frozen layers have their adapters by then. The
    core takes the difference of output and target by sample, in float32, as ``loss_type`` says. Answered by the
    architecture.
    """


@hookspec(firstresult=True)
def loss_weighting(prediction: Prediction, batch: NoisyBatch, config: Config) -> Tensor:  # type: ignore[empty-body]
    """Return one loss factor a sample (B), finite and at least 0.

    Called after ``predict_noise``, with its answer. Answered by the architecture or an extension, else by the core.
    """


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

    ``negative`` has one row. Called for previews and `loracore demo`, with every part but the text encoders loaded, on
    the run's device, without gradients; everything random comes from ``rng``, which is on the CPU. What ``drawing``
    leaves open is the architecture's own choice; "steps", "scale" and "sampler" in a picture's ``info`` say what it
    really was drawn with. Answered by the architecture or an extension, else by the core.
    """


@hookspec(firstresult=True)
def file_metadata(models: Models, config: Config) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return what the architecture writes into a saved file's header (``ss_base_model_version``, ``modelspec.*``, …).

    Called once before the first step, and by commands that write files. Keys and values are text. Answered by the
    architecture or an extension, else by the core.
    """


@hookspec(firstresult=True)
def demo(config: Config) -> DemoKit | None:
    """Return an embedded tiny model with pictures, prompts and a measure, or None.

    Called by `loracore demo`. Answered by the architecture, else by the core.
    """


@hookspec
def run_started(run: Run) -> None:
    """Told once, when everything is assembled and before the first step. Treat ``run`` as read-only.

    Useful in it: ``config``, ``seed``, ``notes``, ``length.steps``, ``length.epochs``, ``start.taken`` (steps before
    the first one), ``network.entries`` (targets and their adapters), ``moving.optimizer``, ``steps.history`` (losses),
    ``results.files`` (folder and names), ``watch.validations``, ``processes.main``, ``processes.count``,
    ``processes.device``, ``outlets.progress.say(line)``, ``tell(kind, step, **values)``, ``save(…)``,
    ``save_state(…)``, ``weights_to_read()``, ``control.stop(reason)``. "Versions" in docs/plugins.md says what of each
    belongs to the contract.
    """


@hookspec
def step_done(run: Run, step: int, loss: Tensor, grad_norm: Tensor, ids: tuple[str, ...]) -> None:
    """Told after every optimizer step; ``step`` counts from 1.

    ``loss`` and ``grad_norm`` are scalars on the device: reading them makes the run wait, so read them rarely. ``ids``
    names the samples of the step.
    """


@hookspec
def happened(run: Run, event: Event) -> None:
    """Told of everything that becomes known of a run, in plain numbers and texts, in the main process.

    Console, trackers, ``events.jsonl`` and report are made of these. A step's numbers come a few steps after
    ``step_done``, when the device has them: hearing of them makes nobody wait. docs/events.md lists the kinds of events
    and what each holds. Tell of something yourself by ``run.tell(kind, step, **values)``.
    """


@hookspec
def epoch_done(run: Run, epoch: int, step: int) -> None:
    """Told after the last step of every epoch; ``epoch`` counts from 1."""


@hookspec
def run_finished(run: Run, step: int) -> None:
    """Told once after the last step."""
