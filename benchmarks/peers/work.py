"""The work that all trainers do, as files: model, pictures with their caches, noise, timesteps, starting adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tomli_w
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.peers.architectures import Architecture
from benchmarks.peers.weights import empty_denoiser, write_adapters, write_checkpoint, write_tokenizers


@dataclass(frozen=True, slots=True)
class Size:
    """How large model and pictures are."""

    small: bool  # the denoiser
    side: int  # pixels of a picture
    pictures: int
    deep: bool = False  # a small denoiser that has all of its layers


_ADAMW = ("--optimizer_type", "AdamW", "--learning_rate", "1e-4")
_DESCENT = ("--optimizer_type", "SGD", "--learning_rate", "1", "--max_grad_norm", "0")

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "tiny": Size(small=True, side=64, pictures=32),
        "deep": Size(small=True, side=64, pictures=32, deep=True),
        "low": Size(small=False, side=128, pictures=8),
        "full": Size(small=False, side=1024, pictures=64),
    }
)


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained, and how."""

    folder: Path  # of all files
    architecture: Architecture
    size: Size
    batch: int
    steps: int
    rank: int
    checkpointing: bool
    device: str  # "cpu", in float32, or "cuda", in bf16
    gradient: bool = False  # adapters move by their gradient as it is, in place of AdamW

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def adapters(self) -> Path:
        return self.folder / "adapters.safetensors"

    @property
    def draws(self) -> Path:
        return self.folder / "draws.safetensors"

    def words(self, out: Path) -> Iterator[str]:
        """Give the options that our trainer and sd-scripts both understand; the result: ``out``/lora.safetensors."""
        yield from ("--pretrained_model_name_or_path", str(self.model))
        yield from ("--tokenizer_cache_dir", str(self.folder / "tokenizers"))
        yield from ("--dataset_config", str(self.folder / "dataset.toml"))
        yield from ("--cache_latents", "--cache_latents_to_disk")
        yield from ("--cache_text_encoder_outputs", "--cache_text_encoder_outputs_to_disk")
        yield from (*self.architecture.words, "--network_weights", str(self.adapters))
        yield from ("--network_dim", str(self.rank), "--network_alpha", str(self.rank), "--network_train_unet_only")
        yield from ("--mixed_precision", "no" if self.device == "cpu" else "bf16", "--sdpa")
        yield from ("--lr_scheduler", "constant", "--seed", "0")
        yield from ("--output_dir", str(out), "--output_name", "lora", "--save_precision", "float")
        yield from ("--save_model_as", "safetensors")
        yield from (("--gradient_checkpointing",) if self.checkpointing else ())
        yield from (_DESCENT if self.gradient else _ADAMW)
        yield from ("--max_train_steps", str(self.steps))


def write_work(work: Work) -> None:
    """Write all files. A full-size model takes 5 to 16 GB in bf16."""
    architecture, denoiser = work.architecture, empty_denoiser(work.architecture, small=work.size.small)
    write_checkpoint(work.model, architecture, denoiser, device=work.device)
    write_adapters(work.adapters, architecture, denoiser, work.rank)
    write_tokenizers(work.folder / "tokenizers")
    pictures = work.folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(work.size.pictures):
        path = pictures / f"{number:04}.png"
        Image.new("RGB", (work.size.side, work.size.side), (90, 120, 60)).save(path)
        path.with_suffix(".txt").write_text(f"picture {path.stem}", encoding="utf-8")
        architecture.latents(path, work.size.side, rng)  # what encoders would say, in the field's files beside them
        architecture.text(path, rng)
    repeats = -(-work.steps * work.batch // work.size.pictures)
    subset = {"image_dir": str(pictures), "num_repeats": repeats, "caption_extension": ".txt"}
    table = {"resolution": work.size.side, "batch_size": work.batch, "subsets": [subset]}
    (work.folder / "dataset.toml").write_text(tomli_w.dumps({"datasets": [table]}), encoding="utf-8")
    _write_draws(work)


def _write_draws(work: Work) -> None:
    rng, side = torch.Generator().manual_seed(200), work.size.side // 8
    noise = torch.randn(work.steps, work.batch, work.architecture.channels, side, side, generator=rng)
    possible = torch.tensor(work.architecture.timesteps)
    timesteps = possible[torch.randint(0, len(possible), (work.steps, work.batch), generator=rng)]
    save_file({"noise": noise, "timesteps": timesteps}, work.draws)
