"""A trained file must mean the same to diffusers as the live adapters mean here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from loracore_sdxl.pictures import GUIDANCE, SAMPLE_STEPS, SAMPLER
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from loracore import Config, Drawing
from loracore.cli.request import Request, read_request
from loracore.diffusion.pictures.samplers import ddpm_scheduler
from loracore.training.assembly.phases import Loading
from loracore.training.assembly.run_network import adapters_for
from loracore.training.sampling import Sampling, sample
from tests.plugins.sdxl.runs import config_of

PROMPTS = ["a red square", "nothing at all"]
SIZE = (64, 64)

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations


def request_of(folder: Path) -> Request:
    words = ["--arch", "sdxl", "--pretrained_model_name_or_path", str(folder), "--network_args", "conv_dim=2"]
    return read_request(words)


def loading_of(request: Request) -> Loading:
    return Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)


@pytest.fixture
def network_file(folder: Path, tmp_path: Path) -> Path:
    """A file with every module of U-Net and both text encoders, convolutions too, all factors random."""
    request = request_of(folder)
    loading = loading_of(request)
    models = loading.models("text", "denoiser")
    targets = request.plugins.hook.lora_targets(models=models, config=request.config)
    network = adapters_for(request.plugins.hook, targets, request.config, 0, None)
    torch.manual_seed(5)
    for parameter in network.modules.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path / "lora.safetensors"
    save_file(network.file_tensors(torch.float32), path)
    return path


def pipeline_pictures(folder: Path, config: Config, network_file: Path | None) -> tuple[list[Any], int]:
    """Return diffusers' own pictures, and how many modules it took from the file."""
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=ddpm_scheduler(SAMPLER, config, SAMPLE_STEPS),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    taken = 0
    if network_file is not None:
        pipeline.load_lora_weights(network_file.parent, weight_name=network_file.name)
        parts = (pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2)
        taken = sum(1 for part in parts for name, _ in part.named_modules() if name.endswith("lora_A.default_0"))
    generator = torch.Generator().manual_seed(3)
    start = torch.randn((len(PROMPTS), 4, SIZE[1] // 8, SIZE[0] // 8), generator=generator)
    drawn = pipeline(
        PROMPTS,
        negative_prompt=["", ""],
        latents=start,
        num_inference_steps=SAMPLE_STEPS,
        guidance_scale=GUIDANCE,
        width=SIZE[0],
        height=SIZE[1],
    )
    return list(drawn.images), taken


def difference(ours: list[Any], theirs: list[Any]) -> float:
    return max(
        float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()) for a, b in zip(ours, theirs, strict=True)
    )


def test_a_file_draws_in_diffusers_what_the_live_adapters_draw(folder: Path, network_file: Path) -> None:
    request = request_of(folder)
    weights = load_file(network_file)
    ours = sample(loading_of(request), Sampling(PROMPTS, Drawing(SIZE), 3), weights)
    theirs, taken = pipeline_pictures(folder, config_of(folder), network_file)
    assert taken == len({name.partition(".")[0] for name in weights})
    assert difference(ours, theirs) <= 1  # of 255: rounding to bytes
    base, _ = pipeline_pictures(folder, config_of(folder), None)
    assert difference(base, theirs) > 20


def test_pictures_of_the_base_model_are_diffusers_own(folder: Path) -> None:
    ours = sample(loading_of(request_of(folder)), Sampling(PROMPTS, Drawing(SIZE), 3))
    theirs, _ = pipeline_pictures(folder, config_of(folder), None)
    assert difference(ours, theirs) <= 1
