"""The comparison with diffusers' script: what it reads, and what stands in for parts of it; no checkout is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.peers import ours, pillow_transforms
from benchmarks.peers.architectures import architectures, attention_alone
from benchmarks.peers.diffusers_encoders import IdleEncoder, IdleVae, Pictures
from benchmarks.peers.diffusers_folder import layer_names, model_folder, picture_folder, write_diffusers_folder
from benchmarks.peers.diffusers_script import Adapters, StillOptimizer
from benchmarks.peers.draws import Draws
from benchmarks.peers.sides import ours as our_side
from benchmarks.peers.work import Size, Work, write_work

STEPS, BATCH = 2, 2
ORDER = ["0001", "0000", "0002", "0001"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    size, sdxl = Size(small=True, side=64, pictures=3), attention_alone(architectures()["sdxl"])
    found = Work(tmp_path_factory.mktemp("work"), sdxl, size, BATCH, STEPS, 4, checkpointing=False, device="cpu")
    write_work(found)
    write_diffusers_folder(found)
    return found


@pytest.fixture
def unet(work: Work) -> UNet2DConditionModel:
    found = UNet2DConditionModel.from_pretrained(model_folder(work) / "unet")
    assert isinstance(found, UNet2DConditionModel)
    return found.requires_grad_(requires_grad=False)


@pytest.fixture
def pictures(work: Work) -> Pictures:
    return Pictures(work.folder / "pictures", ORDER, BATCH, Draws(load_file(work.draws)))


def test_both_sides_read_the_same_weights(work: Work, unet: UNet2DConditionModel) -> None:
    checkpoint = load_file(work.model)
    of_the_file = sum(tensor.numel() for name, tensor in checkpoint.items() if name.startswith("model.diffusion_model"))
    assert of_the_file == sum(parameter.numel() for parameter in unet.parameters())
    first = checkpoint["model.diffusion_model.input_blocks.0.0.weight"]
    assert torch.equal(unet.get_parameter("conv_in.weight"), first)


def test_noise_levels_are_those_of_the_models_training(work: Work) -> None:
    scheduler = DDPMScheduler.from_pretrained(model_folder(work) / "scheduler")
    levels = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2)
    assert scheduler.alphas_cumprod.numpy() == pytest.approx(levels, rel=1e-4)  # a product of 1000 in float32


def test_pictures_come_with_their_captions(work: Work) -> None:
    lines = (picture_folder(work) / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    told = {one["file_name"]: one["text"] for one in map(json.loads, lines)}
    assert told == {f"{number:04}.png": f"picture {number:04}" for number in range(3)}


def test_our_side_trains_attention_alone(work: Work, tmp_path: Path) -> None:
    assert ours.train(work.draws, tmp_path / "record.json", list(our_side().words(work, tmp_path))) == 0
    trained = load_file(tmp_path / "lora.safetensors")
    assert set(trained) == set(load_file(work.adapters))
    layers = {name.partition(".")[0] for name in trained}
    assert layers == set(layer_names(work).values())
    assert all(layer.endswith(("to_q", "to_k", "to_v", "to_out_0")) for layer in layers)


def test_encoders_say_what_the_caches_hold_in_the_works_order(work: Work, pictures: Pictures) -> None:
    vae, encoder = IdleVae(pictures), IdleEncoder(pictures, "hidden_state2").to(torch.bfloat16)
    pixels = torch.zeros(BATCH, 3, 64, 64)
    vae.encode(pixels)
    latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
    pooled, (hidden, _) = encoder(torch.zeros(BATCH, 77))
    second = ORDER[BATCH:]
    assert torch.equal(
        latents, torch.stack([_said(work, stem, "0064x0064_sdxl")["latents"] for stem in second]) * 0.13025
    )
    texts = [_said(work, stem, "te_outputs") for stem in second]
    assert torch.equal(pooled, torch.stack([text["pool2"] for text in texts]).bfloat16())
    assert torch.equal(hidden, torch.stack([text["hidden_state2"] for text in texts]).bfloat16())


def test_adapters_start_from_the_file_and_leave_their_gradient_in_another(
    work: Work, unet: UNet2DConditionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft = pytest.importorskip("peft")
    monkeypatch.setattr(UNet2DConditionModel, "add_adapter", UNet2DConditionModel.add_adapter)
    start = load_file(work.adapters)
    adapters = Adapters(layer_names(work), start)
    adapters.watch()
    unet.add_adapter(peft.LoraConfig(r=4, lora_alpha=4, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    optimizer = StillOptimizer(adapters.trained.values(), lr=1.0, weight_decay=0.01)
    sum((parameter * 3).sum() for parameter in adapters.trained.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    optimizer.zero_grad()
    adapters.write(tmp_path / "result" / "lora.safetensors")
    found = load_file(tmp_path / "result" / "lora.safetensors")
    assert set(found) == {name for name in start if not name.endswith(".alpha")}
    assert all(torch.equal(found[name], start[name] - 3) for name in found)


def test_a_square_picture_becomes_numbers_from_minus_one_to_one() -> None:
    made = pillow_transforms.transforms()
    picture = Image.new("RGB", (4, 4), (0, 51, 255))
    steps = made["Compose"]([made["ToTensor"](), made["Normalize"]([0.5], [0.5])])
    pixels = steps(made["CenterCrop"](2)(made["Resize"](2, interpolation=made["InterpolationMode"].LANCZOS)(picture)))
    assert pixels.shape == (3, 2, 2)
    assert pixels[:, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])


def _said(work: Work, stem: str, end: str) -> Mapping[str, Tensor]:
    with np.load(work.folder / "pictures" / f"{stem}_{end}.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].ndim}
