"""Train a demo's VAE on crops of rendered pictures, and give its latents the scale that its kind is known for."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from make_demo.pictures import as_signal, training_pictures, unseen_pictures
from make_demo.training import Pace, Training, adamw

CHANNELS = (16, 16, 32, 32)
PICTURES = 6000
BATCH = 8
CROP = 64
WHOLE_PICTURES_FROM = 0.88  # the mid block's attention must have seen whole pictures


@dataclass(frozen=True, slots=True)
class VaeKind:
    """Say in what one architecture's VAE differs from another's."""

    latent_channels: int
    scaling_factor: float
    shift_factor: float | None
    own_convolutions: bool  # 1x1 ones around the latents: SD3 dropped them
    divergence_weight: float  # of the Kullback-Leibler term
    #: In this share of the steps latents of half the size must give the picture of half the size: that makes them
    #: smooth, and denoisers learn them sooner (EQ-VAE, Kouzelis et al. 2025).
    halved_share: float


def empty_vae(kind: VaeKind) -> AutoencoderKL:
    """Build a VAE with random weights: factor 8."""
    vae: AutoencoderKL = AutoencoderKL(
        block_out_channels=CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        layers_per_block=1,
        latent_channels=kind.latent_channels,
        norm_num_groups=8,
        sample_size=128,
        scaling_factor=kind.scaling_factor,
        shift_factor=kind.shift_factor,
        use_quant_conv=kind.own_convolutions,
        use_post_quant_conv=kind.own_convolutions,
        force_upcast=False,
    )
    return vae.to(memory_format=torch.channels_last)  # a tenth faster on a CPU


def scaled_latents(vae: AutoencoderKL, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Encode pictures to what a denoiser sees: means and spreads B,C,H/8,W/8."""
    found, scale = vae.encode(batch).latent_dist, vae.config["scaling_factor"]
    return (found.mean - (vae.config["shift_factor"] or 0.0)) * scale, found.std * scale


def train_vae(kind: VaeKind, minutes: float, checkpoint: Path, seed: int) -> AutoencoderKL:
    """Train from random weights, or go on where a checkpoint ended; the latents come out scaled."""
    torch.manual_seed(seed)
    vae = empty_vae(kind)
    group = {"params": list(vae.parameters()), "lr": 2e-3, "weight_decay": 0.0}
    training = Training(nn.ModuleDict({"vae": vae}), [adamw([group])], minutes, Pace(constant=0.35, decay=0.995))
    training.resume(checkpoint)
    pictures = training_pictures(PICTURES, random.Random(seed))  # noqa: S311  # draws pictures, no secrets
    for step in training.steps(checkpoint):
        whole = training.progress > WHOLE_PICTURES_FROM
        batch = _batch(pictures, BATCH // 4 if whole else BATCH, CROP * 2 if whole else CROP)
        training.update(_loss(vae, kind, batch))
        if step % 500 == 0:
            _report(kind, training)
    vae.load_state_dict(training.averaged_modules()["vae"])
    scale_latents(vae, kind, as_signal(pictures[:500]))
    return vae.eval()


def _batch(pictures: Tensor, size: int, crop: int) -> Tensor:
    batch = pictures[torch.randint(len(pictures), (size,))]
    slack = batch.shape[-1] - crop
    top, left = torch.randint(slack + 1, (2,)).tolist()
    batch = batch[:, :, top : top + crop, left : left + crop]
    for turned in (batch.flip(-1), batch.flip(-2), batch.transpose(-1, -2)):
        batch = torch.where(torch.randint(2, (size, 1, 1, 1)).bool(), turned, batch)
    return as_signal(batch)


def _loss(vae: AutoencoderKL, kind: VaeKind, batch: Tensor) -> Tensor:
    posterior = vae.encode(batch).latent_dist
    divergence: Tensor = posterior.kl().mean() / posterior.mean[0].numel()
    latents = posterior.sample()
    if torch.rand(()).item() < kind.halved_share:
        latents, batch = avg_pool2d(latents, 2), avg_pool2d(batch, 2)
    return _distance(vae.decode(latents).sample - batch) + kind.divergence_weight * divergence


def _distance(difference: Tensor) -> Tensor:
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return difference.square().mean() + 0.3 * difference.abs().mean() + 0.3 * edges


@torch.no_grad()
def _report(kind: VaeKind, training: Training) -> None:
    vae = empty_vae(kind)
    vae.load_state_dict(training.averaged_modules()["vae"])
    print(
        f"step {training.step} at {training.used:.0f} s: unseen pictures {round_trip_decibels(vae, seed=0):.2f} dB",
        flush=True,
    )


@torch.no_grad()
def round_trip_decibels(vae: AutoencoderKL, seed: int) -> float:
    """Measure how well the VAE reproduces the concept, which it has never seen: PSNR in dB."""
    truth = as_signal(unseen_pictures(random.Random(seed)))  # noqa: S311  # draws pictures, no secrets
    seen = vae.decode(vae.encode(truth).latent_dist.mean).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / (seen - truth).square().mean()))


@torch.no_grad()
def scale_latents(vae: AutoencoderKL, kind: VaeKind, pictures: Tensor) -> None:
    """Fold each latent channel's mean and spread into the convolutions around it, so that the kind's factors are right.

    The maps are affine: decoding stays what it was. Only at the border is it not, where the decoder's first convolution
    is a 3x3 one: its padding is still zero, though zero has another meaning now; the sharpening mends that.
    """
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in torch.split(pictures, 50)])
    mean, gain = latents.mean((0, 2, 3)), 1 / (kind.scaling_factor * latents.std((0, 2, 3)))
    shift, count = kind.shift_factor or 0.0, kind.latent_channels
    own = kind.own_convolutions
    before = vae.quant_conv if own else vae.encoder.conv_out
    after = vae.post_quant_conv if own else vae.decoder.conv_in
    before.bias[:count] = (before.bias[:count] - mean) * gain + shift
    before.weight[:count] *= gain[:, None, None, None]
    before.bias[count:] += 2 * gain.log()  # the log-variances
    after.weight /= gain[None, :, None, None]
    after.bias += after.weight.sum((2, 3)) @ (mean * gain - shift)


def sharpen_decoder(vae: AutoencoderKL, minutes: float, checkpoint: Path, seed: int) -> AutoencoderKL:
    """Train only the decoder on; latents stay what they are, so the denoiser may be trained before, beside or after."""
    torch.manual_seed(seed)
    vae.requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
    decoder = nn.ModuleDict({"decoder": vae.decoder.requires_grad_(requires_grad=True)})
    group = {"params": list(decoder.parameters()), "lr": 1e-3, "weight_decay": 0.0}
    training = Training(decoder, [adamw([group])], minutes, Pace(constant=0.2, decay=0.995))
    training.resume(checkpoint)
    pictures = training_pictures(PICTURES, random.Random(f"{seed} sharpening"))  # noqa: S311  # draws pictures, no secrets
    for step in training.steps(checkpoint):
        batch = _batch(pictures, BATCH // 4, 2 * CROP) if step % 2 else _batch(pictures, BATCH, CROP)
        latents = vae.encode(batch).latent_dist.sample()
        training.update(_distance(vae.decode(latents).sample - batch))
        if step % 200 == 0:
            print(
                f"step {step} at {training.used:.0f} s: unseen pictures {round_trip_decibels(vae, seed=0):.2f} dB",
                flush=True,
            )
    vae.decoder.load_state_dict(training.averaged_modules()["decoder"])
    return vae.eval()
