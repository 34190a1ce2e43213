"""Write the trained parts as an ordinary diffusers folder in bf16."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ModelMixin
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from make_demo.architecture import Architecture
from make_demo.text import ENCODERS

_TEXT_PREFIX = "text_model."


def write_folder(folder: Path, architecture: Architecture, vae: AutoencoderKL, modules: nn.ModuleDict) -> None:
    """Write weights and configs; the tokenizers' files are already there."""
    models: dict[str, ModelMixin] = {"vae": vae, architecture.denoiser: modules[architecture.denoiser]}
    for name, model in models.items():
        model.to(torch.bfloat16, memory_format=torch.contiguous_format).save_pretrained(folder / name)
    for name in ENCODERS:
        _write_text_encoder(folder / name, modules[name])
    architecture.sampler().save_pretrained(folder / "scheduler")
    for weights in folder.glob("*/*.safetensors"):
        weights.chmod(0o644)  # written for their owner alone, but a package's files are everyone's
    index = json.dumps(dict(architecture.model_index), indent=2) + "\n"
    (folder / "model_index.json").write_text(index, encoding="utf-8")


def _write_text_encoder(folder: Path, encoder: PreTrainedModel) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    encoder.config.architectures = [type(encoder).__name__]
    encoder.config.dtype = torch.bfloat16
    encoder.config.save_pretrained(folder)
    weights = {_classic_name(name): _stored(value) for name, value in encoder.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _stored(weight: Tensor) -> Tensor:
    return weight.to(torch.bfloat16).contiguous()


def _classic_name(name: str) -> str:
    """Give the name that every folder uses; transformers 5 dropped the prefix from one of the two classes."""
    return name if name.startswith((_TEXT_PREFIX, "text_projection")) else _TEXT_PREFIX + name
