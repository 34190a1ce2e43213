"""Train the demo's U-Net and text encoders together to draw what captions say."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from torch import Tensor, nn
from transformers import CLIPTokenizer

from loracore.testing.scenes import draw, random_scene
from make_demo.captions import training_caption
from make_demo.models import empty_text_encoders, empty_unet
from make_demo.pictures import SIDE, as_signal, stacked
from make_demo.tokenizers import LENGTH
from make_demo.training import Training

POOL = 6000
RENEWED = 64  # pictures at a time
RENEW_EVERY = 50  # steps
BATCH = 32
SHORT_LENGTH = 32  # tokens: every caption fits, and text costs half
FULL_LENGTH_FROM = 0.75  # of the time: the U-Net must also know the padding
WEIGHT_LIMIT = 25.0
EMPTY_SHARE = ZERO_SHARE = 0.05
RESIZED_SHARE = 0.15


@dataclass(slots=True)
class Pool:
    """Hold encoded pictures with their captions, of which a part is always being replaced by new ones."""

    means: Tensor  # N,4,16,16, scaled
    spreads: Tensor
    captions: list[str]

    def renew(self, vae: AutoencoderKL, rng: random.Random) -> None:
        """Replace some pictures by newly drawn ones."""
        fresh = encoded_pool(vae, RENEWED, rng)
        for row, place in enumerate(rng.sample(range(len(self.captions)), RENEWED)):
            self.means[place], self.spreads[place] = fresh.means[row], fresh.spreads[row]
            self.captions[place] = fresh.captions[row]

    def draw(self, size: int) -> tuple[Tensor, list[str]]:
        """Draw latents B,4,16,16 and captions at random."""
        rows = torch.randint(len(self.captions), (size,))
        latents = self.means[rows] + self.spreads[rows] * torch.randn(size, *self.means.shape[1:])
        return latents, [self.captions[row] for row in rows.tolist()]


@torch.no_grad()
def encoded_pool(vae: AutoencoderKL, count: int, rng: random.Random) -> Pool:
    """Draw and encode count captioned scenes."""
    scenes = [random_scene(rng) for _ in range(count)]
    batches = [as_signal(stacked([draw(scene, SIDE) for scene in scenes[at : at + 32]])) for at in range(0, count, 32)]
    found = [vae.encode(batch).latent_dist for batch in batches]
    scale = vae.config["scaling_factor"]
    means, spreads = torch.cat([one.mean for one in found]) * scale, torch.cat([one.std for one in found]) * scale
    return Pool(means, spreads, [training_caption(scene, rng) for scene in scenes])


def empty_modules(tokenizers: Sequence[CLIPTokenizer]) -> nn.ModuleDict:
    """Build what trains here, with random weights, under the names of a diffusers folder."""
    first, second = empty_text_encoders(tokenizers[0].get_vocab())
    unet = empty_unet().to(memory_format=torch.channels_last)  # a tenth faster on a CPU
    return nn.ModuleDict({"unet": unet, "text_encoder": first, "text_encoder_2": second})


def train_base(
    minutes: float, checkpoint: Path, vae: AutoencoderKL, tokenizers: Sequence[CLIPTokenizer], seed: int
) -> None:
    """Train until the minutes are used up; the checkpoint holds the result."""
    torch.manual_seed(seed)
    modules = empty_modules(tokenizers)
    text = [*modules["text_encoder"].parameters(), *modules["text_encoder_2"].parameters()]
    groups = [{"params": list(modules["unet"].parameters()), "lr": 1.5e-3}, {"params": text, "lr": 2e-3}]
    training = Training(modules, groups, minutes, constant=0.3, decay=0.998)
    training.resume(checkpoint)
    rng = random.Random(f"{seed} {training.step}")  # noqa: S311  # draws pictures, no secrets
    pool = encoded_pool(vae, POOL, rng)
    scheduler = noise_schedule()
    for step in training.steps(checkpoint):
        if step % RENEW_EVERY == 0:
            pool.renew(vae, rng)
        latents, captions = pool.draw(BATCH)
        length = LENGTH if training.progress > FULL_LENGTH_FROM else SHORT_LENGTH
        condition = _dropped_out(*encode_text(modules, tokenizers, _some_emptied(captions), length))
        loss = _loss(modules, scheduler, latents, *condition)
        training.update(loss)
        if step % 100 == 0:
            print(f"step {step} at {training.used:.0f} s: loss {loss.item():.4f}", flush=True)


def noise_schedule() -> DDPMScheduler:
    """Give SDXL's noise schedule."""
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)


def encode_text(
    modules: nn.ModuleDict, tokenizers: Sequence[CLIPTokenizer], captions: list[str], length: int
) -> tuple[Tensor, Tensor]:
    """Encode captions as SDXL does: B,L,112 hidden states of both encoders, and the second's projection B,64."""
    states = []
    for encoder, tokenizer in zip((modules["text_encoder"], modules["text_encoder_2"]), tokenizers, strict=True):
        tokens = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        output = encoder(tokens.input_ids, output_hidden_states=True)
        states.append(output.hidden_states[-2])
    return torch.cat(states, dim=-1), output.text_embeds


def _some_emptied(captions: list[str]) -> list[str]:
    emptied = (torch.rand(len(captions)) < EMPTY_SHARE).tolist()
    return ["" if empty else caption for caption, empty in zip(captions, emptied, strict=True)]


def _dropped_out(context: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Zero both for some samples: samplers of SDXL use zeros for an empty negative prompt."""
    kept = (torch.rand(len(pooled), 1) >= ZERO_SHARE).float()
    return context * kept[..., None], pooled * kept


def _loss(modules: nn.ModuleDict, scheduler: DDPMScheduler, latents: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
    """Compare predicted with real noise, with more weight where there is much of it: that decides colour and place."""
    noise, timesteps = torch.randn_like(latents), torch.randint(1000, (len(latents),))
    weights: Tensor = (1 / scheduler.alphas_cumprod).clamp(max=WEIGHT_LIMIT)
    extra = {"text_embeds": pooled, "time_ids": _size_numbers(len(latents))}
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    found = modules["unet"](noisy, timesteps, context, added_cond_kwargs=extra).sample
    errors: Tensor = (found - noise).square().mean((1, 2, 3))
    return (errors * weights[timesteps]).mean() / weights.mean()


def _size_numbers(count: int) -> Tensor:
    """Give SDXL's size numbers B,6: original size, crop, target size; some originals are said to be of other sizes."""
    numbers = torch.tensor([SIDE, SIDE, 0, 0, SIDE, SIDE]).repeat(count, 1)
    elsewhere = torch.rand(count, 1) < RESIZED_SHARE
    numbers[:, :2] = torch.where(elsewhere, torch.randint(64, 257, (count, 2)), numbers[:, :2])
    return numbers.float()
