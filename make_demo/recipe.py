"""Run the stages that make a demo model: each reads what the ones before it left in the work folder."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

from make_demo.architecture import Architecture
from make_demo.base import base_training, empty_modules, train_base
from make_demo.folder import write_folder
from make_demo.lessons import write_lessons
from make_demo.measure import measure
from make_demo.text import TOKENIZERS
from make_demo.tokenizers import END, write_tokenizer
from make_demo.vae import empty_vae, sharpen_decoder, train_vae

STAGES = ("tokenizers", "vae", "base", "decoder", "folder", "lessons", "measure")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say what is made, where the work lies and how long each training takes."""

    architecture: Architecture
    work: Path
    model: Path
    pictures: Path
    seed: int
    vae_minutes: float
    base_minutes: float
    decoder_minutes: float

    def tokenizers(self) -> None:
        """Write both tokenizers; the second pads with "!", as those of SDXL and SD3 do."""
        for name, padding in zip(TOKENIZERS, (END, "!"), strict=True):
            write_tokenizer(self.model / name, padding)

    def vae(self) -> None:
        """Train the VAE."""
        vae = train_vae(self.architecture.vae, self.vae_minutes, self.work / "vae.pt", self.seed)
        save_file(_contiguous(vae), self.work / "vae.safetensors")

    def base(self) -> None:
        """Train denoiser and text encoders on the VAE's latents."""
        torch.manual_seed(self.seed)
        tokenizers = self._loaded_tokenizers()
        training = base_training(self.architecture, empty_modules(self.architecture, tokenizers), self.base_minutes)
        train_base(self.architecture, training, self.work / "base.pt", self._loaded_vae("vae"), tokenizers, self.seed)

    def decoder(self) -> None:
        """Sharpen the VAE's decoder."""
        vae = sharpen_decoder(self._loaded_vae("vae"), self.decoder_minutes, self.work / "decoder.pt", self.seed)
        save_file(_contiguous(vae), self.work / "vae-sharp.safetensors")

    def folder(self) -> None:
        """Write the diffusers folder from the averaged weights of the last checkpoint."""
        modules = empty_modules(self.architecture, self._loaded_tokenizers())
        modules.load_state_dict(torch.load(self.work / "base.pt", weights_only=True)["average"])
        sharpened = (self.work / "vae-sharp.safetensors").exists()
        write_folder(self.model, self.architecture, self._loaded_vae("vae-sharp" if sharpened else "vae"), modules)

    def lessons(self) -> None:
        """Write the pictures that every demo trains on."""
        write_lessons(self.pictures, self.seed)

    def measure(self) -> None:
        """Print how often the model draws what a caption says."""
        print(measure(self.architecture, self.model, self.work / "sheet.png", self.seed))

    def _loaded_vae(self, name: str) -> AutoencoderKL:
        vae = empty_vae(self.architecture.vae)
        vae.load_state_dict(load_file(self.work / f"{name}.safetensors"))
        return vae.eval()

    def _loaded_tokenizers(self) -> list[CLIPTokenizer]:
        return [CLIPTokenizer.from_pretrained(self.model / name) for name in TOKENIZERS]


def _contiguous(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in module.state_dict().items()}
