"""What the hooks of a step give: stages of the right shapes, from their arguments and from rng alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from loracore.noise.rng import SampleRng
from loracore.testing.contract.bench import Bench
from loracore.testing.contract.block_checks import order_faults
from loracore.testing.contract.encoding_checks import (
    CAPTIONS,
    OTHER_CAPTIONS,
    image_question,
    pictures,
    text_question,
)
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.probing import Question, differing, purity_faults
from loracore.testing.contract.target_checks import places
from loracore.types import Batch, Latents, Models, NoisyBatch, Prediction, TextConditioning

LONGEST_TIMESTEP = 1000
#: So many times timesteps are drawn for two samples each; what leaves the range in a hundredth of all shows.
_DRAWS = 200


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """A batch as far as it came, and where its randomness comes from."""

    bench: Bench
    fresh: Batch  # as the phases leave it
    batch: Batch  # prepared
    number: int  # of the batch: another one, other randomness

    def rng(self, stream: str, number: int | None = None) -> SampleRng:
        """Return the randomness of the samples in one of the run's streams, from its start."""
        epoch = self.number if number is None else number
        return SampleRng(1, stream, epoch, range(len(self.batch.ids)))

    def timesteps(self) -> Tensor:
        drawn: Tensor = self.bench.ask("draw_timesteps", Tensor, batch=self.batch, rng=self.rng("timesteps"))
        return drawn

    def noise(self) -> Tensor:
        drawn: Tensor = self.bench.ask("draw_noise", Tensor, batch=self.batch, rng=self.rng("noise"))
        return drawn

    def noisy(self) -> NoisyBatch:
        noisy: NoisyBatch = self.noising().put(self.bench)
        return noisy

    def noising(self) -> Question:
        """Return the question for noise on this batch, the draws made once."""
        noise, timesteps = self.noise(), self.timesteps()
        given = {"batch": self.batch, "noise": noise, "timesteps": timesteps}
        return Question("noise_latents", NoisyBatch, lambda: {**given, "rng": self.rng("perturbation")})

    def predicting(self, models: Models) -> Question:
        """Return the question for the denoiser's answer to this batch."""
        given = {"models": models, "batch": self.noisy()}
        return Question("predict_noise", Prediction, lambda: given)


def step_faults(a: Step, b: Step) -> list[Fault]:
    """Return what is wrong with the hooks of a step, asked for two batches, one after the other and in turn."""
    checks = [_prepare_faults, _timestep_faults, _noise_faults, _noisy_faults, _prediction_faults, _weighting_faults]
    return gathered(*(partial(check, a, b) for check in checks))


def first_steps(bench: Bench, dtype: torch.dtype = torch.float32) -> tuple[Step, Step]:
    """Return two batches as the text and picture phases of a run in this precision leave them.

    Raises CannotGoOn when there are none.
    """
    text, vae = bench.load("text", dtype=dtype), bench.load("vae", dtype=dtype)
    with torch.no_grad():
        steps = []
        for number, captions in enumerate((CAPTIONS, OTHER_CAPTIONS)):
            images = pictures(bench.size, len(captions), phase=number)
            latents: Latents = image_question(vae, images).put(bench)
            said: TextConditioning = text_question(text, captions).put(bench)
            ids = tuple(f"{number}-{row}.png" for row in range(len(captions)))
            mean, weights = latents.mean.detach().float(), torch.ones(len(captions))
            batch = Batch(ids, captions, bench.framings(len(captions)), mean, said, weights)
            steps.append(prepared(Step(bench, batch, batch, number)))
    return steps[0], steps[1]


def prepared(step: Step) -> Step:
    """Return a step whose batch is that of training, made of the fresh one."""
    rng = step.rng("prepare")
    return replace(step, batch=step.bench.ask("prepare_batch", Batch, batch=step.fresh, rng=rng, training=True))


def _prepare_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook = a.bench, "prepare_batch"
    if not bench.answers(hook):
        return
    for training in (True, False):
        one, other = (_preparing(step, training=training) for step in (a, b))
        yield from purity_faults(bench, one, other)
        prepared: Batch = one.put(bench)
        if prepared.ids != a.fresh.ids or len(prepared.latents) != len(a.fresh.ids):
            message = "gives other samples than it gets"
            yield bench.fault(hook, message, "return the batch with dataclasses.replace, its samples in their order")


def _preparing(step: Step, *, training: bool) -> Question:
    given = {"batch": step.fresh, "training": training}
    return Question("prepare_batch", Batch, lambda: {**given, "rng": step.rng("prepare")})


def _timestep_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook = a.bench, "draw_timesteps"
    if not bench.answers(hook):
        return
    yield from purity_faults(bench, _drawing(a, hook, "timesteps"), _drawing(b, hook, "timesteps"))
    for number in range(_DRAWS):
        rng = a.rng("timesteps", number)
        drawn: Tensor = bench.ask(hook, Tensor, batch=a.batch, rng=rng)
        check_shape(bench, hook, "the timesteps", drawn, (len(a.batch.ids),), "B")
        if not bool(((drawn >= 0) & (drawn <= LONGEST_TIMESTEP)).all()):
            message = f"draws {drawn.flatten()[drawn.flatten().abs().argmax()]:g}, outside [0, {LONGEST_TIMESTEP}]"
            yield bench.fault(hook, message, "clamp what is drawn, or scale it to the range")
            return


def _noise_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook = a.bench, "draw_noise"
    if not bench.answers(hook):
        return
    question = _drawing(a, hook, "noise")
    unsteady = list(purity_faults(bench, question, _drawing(b, hook, "noise")))
    yield from unsteady
    drawn: Tensor = question.put(bench)
    check_shape(bench, hook, "the noise", drawn, a.batch.latents.shape, "B,C,h,w like the latents")
    if drawn.dtype != torch.float32:
        yield bench.fault(hook, f"draws {drawn.dtype}", "draw float32: rng.normal gives it")
    other: Tensor = bench.ask(hook, Tensor, batch=a.batch, rng=a.rng("noise", b.number))
    if not unsteady and not differing({"": drawn}, {"": other}):
        yield bench.fault(hook, "draws the same from another rng", "draw from rng, which is the samples' own")


def _drawing(step: Step, hook: str, stream: str) -> Question:
    return Question(hook, Tensor, lambda: {"batch": step.batch, "rng": step.rng(stream)})


def _noisy_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook = a.bench, "noise_latents"
    question = a.noising()
    yield from purity_faults(bench, question, b.noising())
    noisy: NoisyBatch = question.put(bench)
    rows = (len(a.batch.ids),)
    check_shape(bench, hook, "noisy_latents", noisy.noisy_latents, a.batch.latents.shape, "B,C,h,w like the latents")
    check_shape(bench, hook, "noise", noisy.noise, a.batch.latents.shape, "B,C,h,w like the latents")
    check_shape(bench, hook, "sigma", noisy.sigma, rows, "B")
    check_shape(bench, hook, "timesteps", noisy.timesteps, rows, "B")
    if noisy.batch.ids != a.batch.ids:
        yield bench.fault(hook, "carries another batch than it gets", "put the batch into NoisyBatch as it is")
    check_finite(bench, hook, {"noisy_latents": noisy.noisy_latents, "sigma": noisy.sigma})


def _prediction_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook, models = a.bench, "predict_noise", a.bench.load("denoiser")
    question, other = a.predicting(models), b.predicting(models)
    prediction: Prediction = question.put(bench)
    for name, tensor in (("output", prediction.output), ("target", prediction.target)):
        check_shape(bench, hook, name, tensor, a.batch.latents.shape, "B,C,h,w like the latents")
        if not tensor.is_floating_point():
            yield bench.fault(hook, f"{name} is {tensor.dtype}", "return floating-point numbers")
    check_finite(bench, hook, {"output": prediction.output, "target": prediction.target})
    unsteady = list(purity_faults(bench, question, other))
    yield from unsteady
    if not unsteady and not differing({"": prediction.output}, {"": other.put(bench).output}):
        yield bench.fault(hook, "says the same of another batch", "give the denoiser this batch's noisy latents")
    yield from _gradient_faults(bench, models, question)
    yield from order_faults(bench, models, question)


def _gradient_faults(bench: Bench, models: Models, question: Question) -> Iterator[Fault]:
    """With weights that may change, the output has a gradient, and the target has none."""
    layers = [layer for target in places(bench, models) for layer in target.layers]
    for layer in layers:
        layer.weight.requires_grad = True
    try:
        prediction: Prediction = question.put(bench)
    finally:
        for layer in layers:
            layer.weight.requires_grad = False
    if not prediction.output.requires_grad:
        message = "the output has no gradient, so that no adapter learns"
        fix = "compute it without .detach(), .data and torch.no_grad()"
        yield bench.fault("predict_noise", message, fix)
    if prediction.target.requires_grad:
        message = "the target has a gradient, so that it is drawn towards the output"
        yield bench.fault("predict_noise", message, "detach() what the denoiser had a part in, or compute it apart")


def _weighting_faults(a: Step, b: Step) -> Iterator[Fault]:
    bench, hook, models = a.bench, "loss_weighting", a.bench.load("denoiser")
    if not bench.answers(hook):
        return
    one, other = (_weighting(step, models) for step in (a, b))
    yield from purity_faults(bench, one, other)
    weights: Tensor = one.put(bench)
    check_shape(bench, hook, "the weighting", weights, (len(a.batch.ids),), "B")
    check_finite(bench, hook, {"the weighting": weights})
    if bool((weights < 0).any()):
        yield bench.fault(hook, "a factor is below 0, which would make the loss worse on purpose", "return 0 or more")


def _weighting(step: Step, models: Models) -> Question:
    noisy = step.predicting(models).arguments()["batch"]
    with torch.no_grad():
        prediction = step.bench.ask("predict_noise", Prediction, models=models, batch=noisy)
    given = {"prediction": prediction, "batch": noisy}
    return Question("loss_weighting", Tensor, lambda: given)


def check_shape(bench: Bench, hook: str, name: str, found: Tensor, shape: tuple[int, ...], letters: str) -> None:
    """Raise CannotGoOn for a tensor of another shape."""
    if tuple(found.shape) != tuple(shape):
        message = f"{name} is {list(found.shape)}, not {letters}: {list(shape)}"
        raise CannotGoOn(bench.fault(hook, message, f"return {name} as {letters}"))


def check_finite(bench: Bench, hook: str, tensors: dict[str, Tensor]) -> None:
    """Raise CannotGoOn for tensors that hold NaN or infinity."""
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise CannotGoOn(bench.fault(hook, f"{name} has numbers that are not finite", "look for a division by 0"))
