"""A step with other batches than the usual one: of a single sample, and of models in half precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.encoding_checks import far
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.step_checks import Step, check_finite, check_shape, first_steps, prepared
from loracore.types import Batch, Models, NoisyBatch, Prediction

_HALF = torch.bfloat16
_LIKE_LATENTS = "B,C,h,w like the latents"


def batch_faults(step: Step) -> list[Fault]:
    """Return what goes wrong with the first sample of a step alone, and in half precision."""
    return gathered(partial(_alone_faults, step), partial(_half_faults, step.bench))


def _alone_faults(step: Step) -> Iterator[Fault]:
    """Ask every hook of a step for one sample; what a sample gets is the same without the others."""
    models = step.bench.load("denoiser")
    with torch.no_grad(), _said_of("a batch of one sample"):
        _whole_step(prepared(replace(step, fresh=_first(step.fresh), batch=_first(step.fresh))), models)
        noising, predicting = step.noising(), step.predicting(models)
        alone = replace(step, batch=_first(step.batch))
        given = {name: noising.arguments()[name][:1] for name in ("noise", "timesteps")}
        given |= {"batch": alone.batch, "rng": alone.rng("perturbation")}
        noisy: NoisyBatch = noising.put(step.bench, arguments=given)
        both = predicting.arguments()["batch"]
        yield from _row_faults(
            step.bench, "noise_latents", {"noisy_latents": (both.noisy_latents, noisy.noisy_latents)}
        )
        given = {"models": models, "batch": _first_noisy(both)}
        one, several = predicting.put(step.bench, arguments=given), predicting.put(step.bench)
        rows = {"output": (several.output, one.output), "target": (several.target, one.target)}
        yield from _row_faults(step.bench, "predict_noise", rows)


def _row_faults(bench: Bench, hook: str, rows: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[Fault]:
    wrong = [name for name, (several, one) in rows.items() if far(several[:1], one)]
    if wrong:
        message = f"a row of {', '.join(wrong)} depends on the rows beside it, so that train_batch_size changes it"
        yield bench.fault(hook, message, "compute each row from its own sample: no mean over B, no norm of the batch")


def _half_faults(bench: Bench) -> Iterator[Fault]:
    """Take a step as mixed_precision takes it: the models in half precision, latents and noise in float32."""
    with torch.no_grad(), _said_of(f"models in {_HALF}"):
        step, _ = first_steps(bench, _HALF)
        _whole_step(step, bench.load("denoiser", dtype=_HALF))
    yield from ()


def _whole_step(step: Step, models: Models) -> None:
    """Ask the hooks of a step one after the other; raises CannotGoOn for one that does not answer rightly."""
    bench, shape = step.bench, step.batch.latents.shape
    check_shape(bench, "draw_timesteps", "the timesteps", step.timesteps(), shape[:1], "B")
    check_shape(bench, "draw_noise", "the noise", step.noise(), shape, _LIKE_LATENTS)
    check_shape(bench, "noise_latents", "noisy_latents", step.noisy().noisy_latents, shape, _LIKE_LATENTS)
    question = step.predicting(models)
    prediction: Prediction = question.put(bench)
    for name, tensor in (("output", prediction.output), ("target", prediction.target)):
        check_shape(bench, "predict_noise", name, tensor, shape, _LIKE_LATENTS)
    check_finite(bench, "predict_noise", {"output": prediction.output, "target": prediction.target})
    given = {"prediction": prediction, "batch": question.arguments()["batch"]}
    weights: Tensor = bench.ask("loss_weighting", Tensor, **given)
    check_shape(bench, "loss_weighting", "the weighting", weights, shape[:1], "B")


@contextmanager
def _said_of(what: str) -> Iterator[None]:
    """Have a fault that ends a check say of what it is."""
    try:
        yield
    except CannotGoOn as end:
        raise CannotGoOn(replace(end.fault, message=f"with {what}: {end.fault.message}")) from end


def _first(batch: Batch) -> Batch:
    """Return the first sample of a batch."""
    return replace(
        batch,
        ids=batch.ids[:1],
        captions=batch.captions[:1],
        framings=batch.framings[:1],
        latents=batch.latents[:1],
        conditioning=batch.conditioning.rows(0, 1),
        loss_weights=batch.loss_weights[:1],
        masks=None if batch.masks is None else batch.masks[:1],
        attributes=batch.attributes[:1],
    )


def _first_noisy(noisy: NoisyBatch) -> NoisyBatch:
    """Return the first sample of a noisy batch."""
    tensors = (one[:1] for one in (noisy.noise, noisy.noisy_latents, noisy.timesteps, noisy.sigma))
    return NoisyBatch(_first(noisy.batch), *tensors)
