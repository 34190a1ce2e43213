"""Every kind of network on a whole tiny SDXL: live = merged = started from again, and read by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
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
from tests.plugins.sdxl import tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

#: A block with Linear, 1×1 and 3×3 convolutions, one whose convolution has a stride, and the middle attention.
BLOCKS = ("down_lr_weight=0,0,0,0,1,0,1,0,0", "mid_lr_weight=0,1,0", "up_lr_weight=zeros")


@torch.no_grad()
def answer(unet: nn.Module) -> Tensor:
    generator, called = torch.Generator().manual_seed(0), unet
    given: dict[str, Any] = {
        "sample": torch.randn(2, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([500, 20]),
        "encoder_hidden_states": torch.randn(2, 7, sum(tiny.WIDTHS), generator=generator),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(2, tiny.WIDTHS[1], generator=generator),
            "time_ids": torch.rand(2, 6, generator=generator) * 64,
        },
    }
    found: Tensor = called(**given).sample
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    path = tiny.write_checkpoint(tmp_path_factory.mktemp("base") / "tiny.safetensors")
    folder = tiny.write_folder(path.with_name("folder"))
    return Base("sdxl", path, folder, models_of(request_of(path, ["--arch", "sdxl"])), answer, BLOCKS)


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


@pytest.mark.parametrize("kind", ["lora", "locon", "rs_lora", "lora_fa", "dylora", "dora_on_output"])
def test_diffusers_takes_low_rank_networks_whole(kind: str, base: Base, tmp_path: Path) -> None:
    trained, path = trained_network(kind, base, tmp_path), tmp_path / "peft.safetensors"
    words = ["--network_weights", str(trained.file), "--pretrained_model_name_or_path", str(base.checkpoint)]
    assert run(["convert", "--arch", "sdxl", *words, "--save_to", str(path)]) == 0
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(path))
    assert set(state) == set(read_header(path).shapes)
    unet: Any = models_of(request_of(base.checkpoint, ["--arch", "sdxl"])).denoiser
    StableDiffusionXLPipeline.load_lora_into_unet(state, alphas, unet)
    taken = [name for name, _ in unet.named_modules() if name.endswith("lora_A.default_0")]
    own = {name.partition(".")[0] for name in read_header(trained.file).shapes if name.startswith("lora_unet_")}
    assert len(taken) == len(own)
    assert_same({"unet": answer(unet)}, {"unet": trained.outputs["unet"]})
