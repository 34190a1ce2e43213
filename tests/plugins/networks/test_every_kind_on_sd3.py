"""Every kind of network on a whole tiny SD3: live = merged = started from again, and read by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor, nn

from loracore.cli.main import run
from loracore.weights.headers import read_header
from tests.plugins.networks.every_kind import KINDS, models_of, request_of
from tests.plugins.networks.on_models import (
    Base,
    Trained,
    assert_same,
    check_comfyui,
    check_merged,
    check_started_again,
    trained_network,
)
from tests.plugins.sd3 import tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

#: The first block and the last, whose text side is another; the embedders, a 2×2 convolution among them; all text.
LAYERS = ("train_block_indices=0,2", "emb_dims=[2,2,2,2,2,2]", "train_t5xxl=True")


@torch.no_grad()
def answer(transformer: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    found: Tensor = transformer(
        hidden_states=torch.randn(2, 16, 8, 8, generator=generator),
        encoder_hidden_states=torch.randn(2, 7, tiny.CONTEXT, generator=generator),
        pooled_projections=torch.randn(2, sum(tiny.WIDTHS), generator=generator),
        timestep=torch.tensor([500, 20]),
    ).sample
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A tiny SD3.5 medium: SD3 with a second attention and norms of queries and keys beside."""
    path = tiny.write_checkpoint(tmp_path_factory.mktemp("base") / "tiny.safetensors", style="5-medium")
    folder = tiny.write_folder(path.with_name("folder"), style="5-medium")
    models = models_of(request_of(path, ["--arch", "sd3"]))
    return Base("sd3", path, folder, models, answer, LAYERS, ("--save_clip", "--save_t5xxl"))


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_network(request.param, base, tmp_path_factory.mktemp("network"))


def test_live_outputs_are_those_of_the_merged_checkpoint(trained: Trained, tmp_path: Path) -> None:
    check_merged(trained, tmp_path)


@pytest.mark.parametrize("words", [(), ("--dim_from_weights",)], ids=["same options", "ranks of the file"])
def test_a_new_run_starts_from_the_file(trained: Trained, words: tuple[str, ...]) -> None:
    check_started_again(trained, *words)


def test_comfyui_takes_every_tensor_and_patches_every_module(trained: Trained) -> None:
    check_comfyui(trained)


@pytest.mark.parametrize("kind", ["lora", "rs_lora", "lora_fa", "dylora", "dora_on_output"])
def test_diffusers_takes_low_rank_networks_whole(kind: str, base: Base, tmp_path: Path) -> None:
    trained, path = trained_network(kind, base, tmp_path), tmp_path / "peft.safetensors"
    words = ["--network_weights", str(trained.file), "--pretrained_model_name_or_path", str(base.checkpoint)]
    assert run(["convert", "--arch", "sd3", *words, "--save_to", str(path)]) == 0
    state = StableDiffusion3Pipeline.lora_state_dict(str(path))
    assert set(state) == set(read_header(path).shapes)
    transformer: Any = models_of(request_of(base.checkpoint, ["--arch", "sd3"])).denoiser
    StableDiffusion3Pipeline.load_lora_into_transformer(state, transformer)
    taken = [name for name, _ in transformer.named_modules() if name.endswith("lora_A.default_0")]
    assert len(taken) == len([name for name in state if name.startswith("transformer.") and "lora_A" in name])
    assert_same({"unet": answer(transformer)}, {"unet": trained.outputs["unet"]})
