"""The work as diffusers' script reads it: the same weights in a folder of its layout, and the same pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file

from benchmarks.peers.weights import empty_denoiser, kind_of
from benchmarks.peers.work import Work
from loracore.diffusion.files.parts import file_parts
from loracore.diffusion.files.weights import open_weights
from loracore.testing import tiny_models


def model_folder(work: Work) -> Path:
    """Return where the model is."""
    return work.folder / "diffusers" / "model"


def picture_folder(work: Work) -> Path:
    """Return where the pictures are, and one file with all captions."""
    return work.folder / "diffusers" / "pictures"


def write_diffusers_folder(work: Work) -> None:
    """Write model and pictures. The denoiser goes through memory: 5 GB for a full-size one in bf16."""
    model = model_folder(work)
    _write_denoiser(work, model / "unet")
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    DDPMScheduler(**noise, num_train_timesteps=1000, clip_sample=False).save_pretrained(model / "scheduler")
    for name, padding, kind in (
        ("", tiny_models.END, "CLIPTextModel"),
        ("_2", "!", "CLIPTextModelWithProjection"),
    ):
        tiny_models.write_tokenizer(model / f"tokenizer{name}", padding)
        encoder = {"architectures": [kind], "model_type": "clip_text_model"}  # asked for its class alone
        (model / f"text_encoder{name}").mkdir()
        (model / f"text_encoder{name}" / "config.json").write_text(json.dumps(encoder), encoding="utf-8")
    _write_pictures(work, picture_folder(work))


def layer_names(work: Work) -> dict[str, str]:
    """Return what the file of adapters calls each layer: its path in the denoiser → its name there."""
    denoiser = empty_denoiser(work.architecture, small=work.size.small)
    return {target.paths[0]: target.key for target in work.architecture.targets(denoiser)}


def _write_denoiser(work: Work, folder: Path) -> None:
    unet = kind_of(work.architecture, "unet")
    part = file_parts([unet], open_weights(work.model, allow_pickle=False))[unet.name]
    denoiser: Any = empty_denoiser(work.architecture, small=work.size.small)
    denoiser.save_config(folder)
    tensors = dict(part.tensors(list(denoiser.state_dict()), torch.device("cpu")))
    own = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(own, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def _write_pictures(work: Work, folder: Path) -> None:
    folder.mkdir()
    lines = list[str]()
    for path in sorted((work.folder / "pictures").glob("*.png")):
        shutil.copy(path, folder / path.name)
        caption = path.with_suffix(".txt").read_text(encoding="utf-8")
        lines.append(json.dumps({"file_name": path.name, "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
