"""Write the trained parts as an ordinary diffusers folder in bf16."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

MODEL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.42.1",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_TEXT_PREFIX = "text_model."


def write_folder(
    folder: Path, vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoders: Sequence[PreTrainedModel]
) -> None:
    """Write weights and configs; the tokenizers' files are already there."""
    for name, model in (("vae", vae), ("unet", unet)):
        model.to(torch.bfloat16, memory_format=torch.contiguous_format).save_pretrained(folder / name)
    for name, encoder in zip(("text_encoder", "text_encoder_2"), text_encoders, strict=True):
        _write_text_encoder(folder / name, encoder)
    sampler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    sampler.save_pretrained(folder / "scheduler")
    for weights in folder.glob("*/*.safetensors"):
        weights.chmod(0o644)  # written for their owner alone, but a package's files are everyone's
    (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n", encoding="utf-8")


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
    """Give the name that every SDXL folder uses; transformers 5 dropped the prefix from one of the two classes."""
    return name if name.startswith((_TEXT_PREFIX, "text_projection")) else _TEXT_PREFIX + name
