"""The prompts of a moment, drawn with the network as it is; training goes on as if nothing had been drawn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from loracore.config.options import ModelOptions, PreviewOptions
from loracore.config.prompts.prompt import Prompt
from loracore.errors import LoracoreError, printable
from loracore.noise.rng import derive_seed
from loracore.training.assembly.phases import free_memory
from loracore.training.previews.moments import FOLDER, Moment, file_name
from loracore.training.previews.png import Drawn, short_name, write_png
from loracore.training.previews.ready import Previews
from loracore.training.run import Run
from loracore.training.validation.measuring import undisturbed
from loracore.training.watchdogs.out_of_memory import explaining
from loracore.types import Drawing, Models, TextConditioning

_SEEDS = 2**32  # as many as the tools have that read the PNGs


@dataclass(frozen=True, slots=True)
class _Asked:
    """One picture that is to be drawn."""

    index: int  # of the prompt
    prompt: Prompt
    seed: int
    file: str  # its name


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a picture: an event's kind and values."""

    index: int
    kind: str
    values: dict[str, Any]


def draw_previews(run: Run, previews: Previews, moment: Moment) -> None:
    """Draw every prompt into the folder of previews, and tell of each; called by every process, which share them.

    Nothing that fails here ends the run: it is told, and everything is put back as it was. A signal ends it behind the
    picture that is being drawn.
    """
    stamp = run.processes.agree(int(time.time()))
    asked = []
    for index, prompt in enumerate(previews.prompts):
        # The same at every moment, so that a row of pictures shows what was learnt and nothing else.
        seed = derive_seed(run.seed, "preview", index) % _SEEDS if prompt.seed is None else prompt.seed
        asked.append(_Asked(index, prompt, seed, file_name(run.results.files.name, moment, index, stamp, prompt.seed)))
    first_own, every = run.processes.part
    own = asked[first_own::every]
    outcomes: Sequence[_Outcome] = _outcomes(run, previews, moment, own)
    if not run.processes.in_step:  # else each process has drawn all of them
        outcomes = run.processes.gather(outcomes)
    for outcome in sorted(outcomes, key=lambda one: one.index):
        run.tell(outcome.kind, moment.step, **outcome.values)
    if len(outcomes) < len(asked):
        left = len(asked) - len(outcomes)
        run.tell("note", moment.step, text=f"{left} of {len(asked)} previews were left out, the run is to stop")


def _outcomes(run: Run, previews: Previews, moment: Moment, asked: Sequence[_Asked]) -> list[_Outcome]:
    outcomes: list[_Outcome] = []
    try:
        with (
            explaining(run.config, "previews"),
            torch.no_grad(),
            undisturbed(run),
            run.weights_to_read(),
            run.network.prepared(),
            _models(run, previews) as models,
        ):
            outcomes.extend(_outcome(run, models, moment, one) for one in _while_wanted(run, asked))
    except Exception as error:  # whatever it is, a preview is not worth a run
        missing = asked[len(outcomes) :]
        if not missing:  # something could not be put back: training would go on with it
            raise
        outcomes += [_failed(one, error) for one in missing]
    free_memory(run.config)
    return outcomes


def _while_wanted(run: Run, asked: Sequence[_Asked]) -> Iterator[_Asked]:
    """Give what is to be drawn until a signal asks for the end; processes that draw together go on."""
    for one in asked:
        if run.control.interrupted and not run.processes.in_step:
            return
        yield one


def _outcome(run: Run, models: Models, moment: Moment, one: _Asked) -> _Outcome:
    try:
        with explaining(run.config, "previews"), run.steps.speed.attention.chosen():
            path = run.steps.speed.attention.tried(partial(_draw, run, models, moment, one))
    except Exception as error:  # noqa: BLE001  # whatever it is, a preview is not worth a run
        failed = _failed(one, error)
    else:
        prompt = one.prompt
        values = {"prompt": prompt.prompt, "negative_prompt": prompt.negative_prompt, "index": one.index}
        return _Outcome(one.index, "preview", {**values, "path": path, "seed": one.seed, "scope": moment.scope})
    free_memory(run.config)  # only here, where the error no longer holds what the failed drawing had made
    return failed


def _failed(one: _Asked, error: Exception) -> _Outcome:
    text = str(error) if isinstance(error, LoracoreError) else f"{type(error).__name__}: {error}"
    message = printable(text.strip().partition("\n")[0])
    return _Outcome(one.index, "preview_failed", {"message": message, "prompt": one.prompt.prompt, "index": one.index})


def _draw(run: Run, models: Models, moment: Moment, one: _Asked) -> str:
    """Draw and write one picture, and return its path."""
    prompt, device = one.prompt, run.processes.device
    sampler = prompt.sample_sampler or run.config[PreviewOptions].sample_sampler
    drawing = Drawing((prompt.width, prompt.height), prompt.sample_steps, prompt.scale, sampler, prompt.flow_shift)
    (picture,) = run.hook.generate_images(
        models=models,
        conditioning=_conditioning(run, prompt.prompt).to(device),
        negative=_conditioning(run, prompt.negative_prompt).to(device),
        drawing=drawing,
        rng=torch.Generator().manual_seed(one.seed),
        config=run.config,
    )
    drawn = Drawn(
        prompt=prompt.prompt,
        negative_prompt=prompt.negative_prompt,
        steps=picture.info.get("steps", prompt.sample_steps),
        sampler=picture.info.get("sampler", sampler),
        scale=picture.info.get("scale", prompt.scale),
        seed=one.seed,
        width=picture.width,
        height=picture.height,
        step=moment.step,
        epoch=moment.epoch,
        model=short_name(run.config[ModelOptions].pretrained_model_name_or_path or ""),
        lora=run.results.files.final.stem,
    )
    path = run.results.files.folder / FOLDER / one.file
    if run.processes.main or not run.processes.in_step:
        write_png(picture, drawn, path)
    return str(path)


def _conditioning(run: Run, text: str) -> TextConditioning:
    cache = run.steps.loader.text
    return run.steps.forward.conditioning((text,), None if cache is None else cache.batch([text]))


@contextmanager
def _models(run: Run, previews: Previews) -> Iterator[Models]:
    """Give the denoiser and, on the device as long as this lasts, the VAE."""
    own, waiting = run.steps.forward.models, previews.vae
    if waiting is None or waiting.vae is None:
        yield replace(own, text={})
        return
    try:
        waiting.vae.to(run.processes.device)
        yield replace(own, text={}, vae=waiting.vae)
    finally:
        waiting.vae.to("cpu")
