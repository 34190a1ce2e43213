"""What ``encode_images`` and ``encode_text`` give: rows that can be cached, each by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.block_checks import order_faults
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.probing import Question, differing, purity_faults, tensors_in
from loracore.types import Latents, Models, TextConditioning

CAPTIONS = ("a red square", "")
OTHER_CAPTIONS = ("a red square", "something else, which says much more than a short caption ever did")
#: Kernels may add up in another order beside other rows; whatever a neighbour really changes is far above it.
_ROUNDING = 1e-3


def encoding_faults(bench: Bench) -> list[Fault]:
    """Return what is wrong with encoded pictures and captions."""
    return gathered(partial(_image_faults, bench), partial(_text_faults, bench))


def pictures(size: tuple[int, int], count: int, *, phase: float = 0.0) -> Tensor:
    """Return smooth pictures (count,3,H,W in [-1, 1]), no two alike; ``phase`` gives others."""
    width, height = size
    across = torch.linspace(0, math.tau, width)[None, None, None, :]
    down = torch.linspace(0, math.tau, height)[None, None, :, None]
    number = torch.arange(count)[:, None, None, None] + phase
    channel = torch.arange(3)[None, :, None, None]
    return torch.sin(across * (1 + channel) + number) * torch.cos(down + 0.7 * number)


def _image_faults(bench: Bench) -> Iterator[Fault]:
    models, hook = bench.load("vae"), "encode_images"
    images, others = pictures(bench.size, 2), pictures(bench.size, 2, phase=0.5)
    others[0] = images[0]  # beside another neighbour
    with torch.no_grad():
        latents = _encoded_images(bench, models, images)
        kept = [name for name, one in tensors_in(latents).items() if one.requires_grad]
        if kept:
            yield bench.fault(hook, f"{', '.join(kept)} keeps a gradient", "freeze the VAE, and return no parameter")
        question, other = (image_question(models, one) for one in (images, others))
        yield from purity_faults(bench, question, other)
        yield from _neighbour_faults(bench, hook, latents, _encoded_images(bench, models, others))
        yield from _neighbour_faults(bench, hook, latents, _encoded_images(bench, models, images[:1]))


def image_question(models: Models, images: Tensor) -> Question:
    """Return the question for the latents of pictures."""
    return Question("encode_images", Latents, lambda: {"models": models, "images": images})


def _encoded_images(bench: Bench, models: Models, images: Tensor) -> Latents:
    """Return latents of the right shape and of finite numbers; raises CannotGoOn for others."""
    hook = "encode_images"
    latents: Latents = image_question(models, images).put(bench)
    mean, variance = latents.mean, latents.log_variance
    if mean.ndim != 4 or len(mean) != len(images):  # noqa: PLR2004  # B,C,h,w
        message = f"mean is {list(mean.shape)} for images of {list(images.shape)}, not B,C,h,w"
        raise CannotGoOn(bench.fault(hook, message, "return one row of latents for each picture"))
    if variance.shape != mean.shape:
        message = f"log_variance is {list(variance.shape)}, mean {list(mean.shape)}"
        raise CannotGoOn(bench.fault(hook, message, "return both as B,C,h,w"))
    if not (mean.isfinite().all() and variance.isfinite().all()):
        raise CannotGoOn(
            bench.fault(hook, "gives numbers that are not finite", "clamp the log-variance, or scale rightly")
        )
    return latents


def _text_faults(bench: Bench) -> Iterator[Fault]:
    models, hook = bench.load("text"), "encode_text"
    with torch.no_grad():
        said = _encoded_text(bench, models, CAPTIONS)
        question, other = (text_question(models, one) for one in (CAPTIONS, OTHER_CAPTIONS))
        steadiness = list(purity_faults(bench, question, other))
        yield from steadiness
        if steadiness:
            return
        beside = _encoded_text(bench, models, OTHER_CAPTIONS)
        if not differing(dict(said.tensors), beside.tensors):
            fix = "keep no answer of an earlier call, and read every caption"
            yield bench.fault(hook, "says the same of other captions", fix)
        yield from _neighbour_faults(bench, hook, said, beside)
        yield from _neighbour_faults(bench, hook, said, _encoded_text(bench, models, CAPTIONS[:1]))
        yield from order_faults(bench, models, question)


def text_question(models: Models, captions: Sequence[str]) -> Question:
    """Return the question for the conditioning of captions."""
    return Question("encode_text", TextConditioning, lambda: {"models": models, "captions": captions})


def _encoded_text(bench: Bench, models: Models, captions: Sequence[str]) -> TextConditioning:
    """Return a conditioning with a row for each caption; raises CannotGoOn for others."""
    hook = "encode_text"
    said: TextConditioning = text_question(models, captions).put(bench)
    if not said.tensors:
        raise CannotGoOn(bench.fault(hook, "gives no tensors", "return what the denoiser needs of a caption"))
    tensors: Mapping[str, Any] = said.tensors  # whatever a stranger puts there
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) != len(captions):
            shape = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            message = f"'{name}' is {shape} for {len(captions)} captions"
            raise CannotGoOn(bench.fault(hook, message, "put B in front of every tensor: rows are cached one by one"))
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CannotGoOn(bench.fault(hook, f"'{name}' has numbers that are not finite", "mend the encoder's mask"))
    return said


def _neighbour_faults(bench: Bench, hook: str, one: object, other: object) -> Iterator[Fault]:
    """Give a fault when the first row differs beside another: what is cached is read beside others."""
    rows, beside = _first_rows(one), _first_rows(other)
    wrong = [name for name in rows if name not in beside or far(rows[name], beside[name])]
    if wrong:
        message = f"a row of {', '.join(wrong)} depends on the rows beside it, so that it cannot be cached"
        fix = "compute each row from its own input: no mean over B, no padding to the longest of the batch"
        yield bench.fault(hook, message, fix)


def _first_rows(value: object) -> Mapping[str, Tensor]:
    return {name.removeprefix("tensors."): tensor[0] for name, tensor in tensors_in(value).items()}


def far(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors differ by more than the rounding of other kernels."""
    if one.shape != other.shape:
        return True
    scale = one.float().abs().max().clamp(min=1e-6)
    return bool((one.float() - other.float()).abs().max() > _ROUNDING * scale)
