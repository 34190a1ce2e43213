"""A trained file, converted, draws in diffusers what the live adapters draw here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from loracore_sd3.pictures import GUIDANCE, SAMPLE_STEPS, scheduler
from safetensors.torch import load_file
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel

from loracore import Drawing
from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.diffusion.files.folders import LocalFolder
from loracore.diffusion.text.tokenizers import find_t5_tokenizer
from loracore.training.assembly.phases import Loading
from loracore.training.sampling import Sampling, sample
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.test_weight_files import random_lora

PROMPTS = ["a red square", "nothing at all"]
SIZE = (64, 64)
T5_TOKENS = 256

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations


class T5Tokens:
    """Our T5 tokenizer in the form that diffusers' pipeline calls it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = find_t5_tokenizer(LocalFolder(folder), "tokenizer_3", "nobody/nothing", None)

    def __call__(self, texts: list[str], **_: object) -> Any:
        ids, _mask = self.tokenizer.ids(texts, T5_TOKENS)
        return type("Tokens", (), {"input_ids": ids})

    def batch_decode(self, _: object) -> list[str]:
        return []


def pipeline_pictures(folder: Path, lora: Path | None) -> list[Any]:
    """Return diffusers' own pictures."""
    pipeline = StableDiffusion3Pipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        text_encoder_3=T5EncoderModel.from_pretrained(folder / "text_encoder_3"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        tokenizer_3=T5Tokens(folder),
        transformer=SD3Transformer2DModel.from_pretrained(folder / "transformer"),
        scheduler=scheduler(),
    )
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    start = torch.randn((len(PROMPTS), 16, SIZE[1] // 8, SIZE[0] // 8), generator=torch.Generator().manual_seed(3))
    drawn = pipeline(
        PROMPTS,
        negative_prompt=["", ""],
        latents=start,
        num_inference_steps=SAMPLE_STEPS,
        guidance_scale=GUIDANCE,
        width=SIZE[0],
        height=SIZE[1],
    )
    return list(drawn.images)


def difference(ours: list[Any], theirs: list[Any]) -> float:
    return max(
        float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("style", tiny.STYLES)
def test_a_converted_file_draws_in_diffusers_what_the_live_adapters_draw(style: str, tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "model", style=style)
    lora = random_lora(tmp_path / "lora.safetensors", folder, "--network_args", "emb_dims=1,2,3,4,5,6")
    peft = tmp_path / "peft.safetensors"
    model = ("--arch", "sd3", "--pretrained_model_name_or_path", str(folder))
    assert run(["convert", *model, "--network_weights", str(lora), "--save_to", str(peft)]) == 0
    request = read_request([*model])
    loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)
    ours = sample(loading, Sampling(PROMPTS, Drawing(SIZE), 3), load_file(lora))
    theirs, base = pipeline_pictures(folder, peft), pipeline_pictures(folder, None)
    assert difference(ours, theirs) <= 1  # of 255: rounding to bytes
    assert difference(base, theirs) > 20
    assert difference(sample(loading, Sampling(PROMPTS, Drawing(SIZE), 3)), base) <= 1
