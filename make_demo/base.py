"""Train a demo's denoiser and text encoders together to draw what captions say."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from make_demo.architecture import Architecture
from make_demo.pool import encoded_pool
from make_demo.text import ENCODERS, encode_text
from make_demo.tokenizers import LENGTH
from make_demo.training import Pace, Training, adamw

POOL = 6000
RENEW_EVERY = 50  # steps
TEXT_RATE = 2e-3
MATRIX_RATE = 0.02
SHORT_LENGTH = 32  # tokens: every caption fits, and text costs half
FULL_LENGTH_FROM = 0.75  # of the time: the denoiser must also know the padding
EMPTY_SHARE = ZERO_SHARE = 0.05


def empty_modules(architecture: Architecture, tokenizers: Sequence[CLIPTokenizer]) -> nn.ModuleDict:
    """Build what trains here, with random weights, under the names of a diffusers folder."""
    encoders = architecture.empty_text_encoders(tokenizers[0].get_vocab())
    denoiser = architecture.empty_denoiser()
    return nn.ModuleDict({architecture.denoiser: denoiser, **dict(zip(ENCODERS, encoders, strict=True))})


def train_base(
    architecture: Architecture,
    training: Training,
    checkpoint: Path,
    vae: AutoencoderKL,
    tokenizers: Sequence[CLIPTokenizer],
    seed: int,
) -> None:
    """Train until the minutes are used up; the checkpoint holds the result."""
    training.resume(checkpoint)
    rng = random.Random(f"{seed} {training.step}")  # noqa: S311  # draws pictures, no secrets
    pool = encoded_pool(vae, POOL, rng)
    denoiser, *encoders = training.modules.values()
    for step in training.steps(checkpoint):
        if step % RENEW_EVERY == 0:
            pool.renew(vae, rng)
        latents, captions = pool.draw(architecture.batch_size)
        length = LENGTH if training.progress > FULL_LENGTH_FROM else SHORT_LENGTH
        condition = _dropped_out(*encode_text(encoders, tokenizers, _some_emptied(captions), length))
        loss = architecture.loss(denoiser, latents, *condition)
        training.update(loss)
        if step % 100 == 0:
            print(f"step {step} at {training.used:.0f} s: loss {loss.item():.4f}", flush=True)


def base_training(architecture: Architecture, modules: nn.ModuleDict, minutes: float) -> Training:
    """Prepare the training of denoiser and text encoders, each at its own rate."""
    denoiser, *encoders = modules.values()
    matrices = architecture.matrices(denoiser)
    own = {id(matrix) for matrix in matrices}
    rest = [parameter for parameter in denoiser.parameters() if id(parameter) not in own]
    text = [parameter for encoder in encoders for parameter in encoder.parameters()]
    optimizers = [adamw([{"params": rest, "lr": architecture.rate}, {"params": text, "lr": TEXT_RATE}])]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01, adjust_lr_fn="original"))
    return Training(modules, optimizers, minutes, Pace(constant=0.3, decay=0.998))


def _some_emptied(captions: list[str]) -> list[str]:
    emptied = (torch.rand(len(captions)) < EMPTY_SHARE).tolist()
    return ["" if empty else caption for caption, empty in zip(captions, emptied, strict=True)]


def _dropped_out(context: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Zero both for some samples: some samplers use zeros for an empty negative prompt, and trainers drop text so."""
    kept = (torch.rand(len(pooled), 1) >= ZERO_SHARE).float()
    return context * kept[..., None], pooled * kept
