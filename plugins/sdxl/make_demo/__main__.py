"""Run the whole recipe, or some of its stages: each reads what the ones before it left in the work folder."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

from make_demo.base import empty_modules, train_base
from make_demo.folder import write_folder
from make_demo.lessons import write_lessons
from make_demo.measure import measure
from make_demo.tokenizers import END, write_tokenizer
from make_demo.vae import empty_vae, sharpen_decoder, train_vae

PACKAGE = Path(__file__).parent.parent / "loracore_sdxl"
STAGES = ("tokenizers", "vae", "base", "decoder", "folder", "lessons", "measure")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say where the work lies and how long each training takes."""

    work: Path
    model: Path
    pictures: Path
    seed: int
    vae_minutes: float
    base_minutes: float
    decoder_minutes: float

    def tokenizers(self) -> None:
        """Write both tokenizers; the second pads with "!", as SDXL's does."""
        write_tokenizer(self.model / "tokenizer", END)
        write_tokenizer(self.model / "tokenizer_2", "!")

    def vae(self) -> None:
        """Train the VAE."""
        vae = train_vae(self.vae_minutes, self.work / "vae.pt", self.seed)
        save_file(_contiguous(vae), self.work / "vae.safetensors")

    def base(self) -> None:
        """Train U-Net and text encoders on the VAE's latents."""
        train_base(
            self.base_minutes, self.work / "base.pt", self._loaded_vae("vae"), self._loaded_tokenizers(), self.seed
        )

    def decoder(self) -> None:
        """Sharpen the VAE's decoder."""
        vae = sharpen_decoder(self._loaded_vae("vae"), self.decoder_minutes, self.work / "decoder.pt", self.seed)
        save_file(_contiguous(vae), self.work / "vae-sharp.safetensors")

    def folder(self) -> None:
        """Write the diffusers folder from the averaged weights of the last checkpoint."""
        modules = empty_modules(self._loaded_tokenizers())
        modules.load_state_dict(torch.load(self.work / "base.pt", weights_only=True)["average"])
        sharpened = (self.work / "vae-sharp.safetensors").exists()
        vae = self._loaded_vae("vae-sharp" if sharpened else "vae")
        write_folder(self.model, vae, modules["unet"], [modules["text_encoder"], modules["text_encoder_2"]])

    def lessons(self) -> None:
        """Write the pictures that the demo trains on."""
        write_lessons(self.pictures, self.seed)

    def measure(self) -> None:
        """Print how often the model draws what a caption says."""
        print(measure(self.model, self.work / "sheet.png", self.seed))

    def _loaded_vae(self, name: str) -> AutoencoderKL:
        vae = empty_vae()
        vae.load_state_dict(load_file(self.work / f"{name}.safetensors"))
        return vae.eval().to(memory_format=torch.channels_last)  # a quarter faster on a CPU

    def _loaded_tokenizers(self) -> list[CLIPTokenizer]:
        return [CLIPTokenizer.from_pretrained(self.model / name) for name in ("tokenizer", "tokenizer_2")]


def _contiguous(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in module.state_dict().items()}


def main() -> None:
    """Read the command line and run the stages asked for, in their order."""
    parser = argparse.ArgumentParser(prog="python -m make_demo", description="Make the embedded demo model.")
    parser.add_argument(
        "work", type=Path, help="folder for checkpoints; a stage that was interrupted goes on from there"
    )
    parser.add_argument("--model", type=Path, default=PACKAGE / "demo_model", help="the diffusers folder to write")
    parser.add_argument("--pictures", type=Path, default=PACKAGE / "demo_pictures", help="the picture folder to write")
    parser.add_argument("--seed", type=int, default=1, help="of weights, pictures, captions and noise")
    parser.add_argument("--vae_minutes", type=float, default=20, help="on one thread of a server's processor")
    parser.add_argument("--base_minutes", type=float, default=56)
    parser.add_argument("--decoder_minutes", type=float, default=12)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="stages to run")
    settings = vars(parser.parse_args())
    torch.set_num_threads(1)  # small channels do not gain from more, and several trainings may run side by side
    stages = settings.pop("only")
    recipe = Recipe(**settings)
    recipe.work.mkdir(parents=True, exist_ok=True)
    for stage in filter(stages.__contains__, STAGES):
        getattr(recipe, stage)()


if __name__ == "__main__":
    main()
