from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from loracore_sdxl import names, noise
from loracore_sdxl.recognition import UNET
from loracore_sdxl.targets import unet_targets
from safetensors.torch import load_file
from torch import Tensor, nn

from loracore import Batch, Config, Framing, Models, NoisyBatch, TextConditioning
from loracore.diffusion.steps import ddpm_steps
from loracore.noise import ddpm
from tests.plugins.sdxl.runs import config_of

FRAMING = Framing(original=(1920, 1080), resized=(1365, 768), crop=(10, 0), size=(1344, 768))


@pytest.fixture
def golden(data: Path) -> dict[str, Tensor]:
    return load_file(data / "forward-sdxl.safetensors")


@pytest.fixture
def unet(data: Path) -> UNet2DConditionModel:
    config = json.loads((data / "forward-sdxl.json").read_text(encoding="utf-8"))["diffusers_config"]
    model = UNet2DConditionModel.from_config(config)
    tensors = load_file(data / "tiny-sdxl-unet.safetensors")
    places = names.unet_names(model)
    assert {UNET + place.name for place in places.values()} == set(tensors)
    model.load_state_dict({key: tensors[UNET + place.name].float() for key, place in places.items()})
    return model.eval().requires_grad_(requires_grad=False)


def noisy_batch(golden: Mapping[str, Tensor]) -> NoisyBatch:
    """The golden inputs as a batch; where the pictures were cut does not matter to the noise."""
    sizes = zip(golden["in.original_sizes_hw"], golden["in.crop_top_lefts"], golden["in.target_sizes_hw"], strict=True)
    framings = tuple(
        Framing(original=pair(o.flip(0)), resized=(10**6, 10**6), crop=pair(c.flip(0)), size=pair(t.flip(0)))
        for o, c, t in sizes
    )
    said = TextConditioning({"context": golden["in.context"], "pooled": golden["in.pooled"]})
    latents = golden["in.latent"]
    batch = Batch(("a", "b"), ("", ""), framings, latents, said, torch.ones(2))
    return NoisyBatch(batch, torch.zeros_like(latents), latents, golden["in.timestep"], torch.ones(2))


def pair(values: Tensor) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def merge(unet: UNet2DConditionModel, lora: Mapping[str, Tensor]) -> int:
    """Add a LoRA file to the weights, and return how many of its modules found their place."""
    merged = 0
    for target in unet_targets(unet):
        down, up = lora[f"{target.key}.lora_down.weight"], lora[f"{target.key}.lora_up.weight"]
        weight = target.layers[0].get_parameter("weight")
        change = up.flatten(1) @ down.flatten(1) * lora[f"{target.key}.alpha"] / len(down)
        weight.add_(change.reshape(weight.shape))
        merged += 1
    return merged


def test_output_is_the_references(unet: UNet2DConditionModel, golden: dict[str, Tensor]) -> None:
    predicted = noise.predict(Models(denoiser=unet), noisy_batch(golden), config_of())
    torch.testing.assert_close(predicted.output, golden["out"], rtol=1e-5, atol=1e-5)


def test_output_with_lora_is_the_references(unet: UNet2DConditionModel, golden: dict[str, Tensor], data: Path) -> None:
    assert merge(unet, load_file(data / "tiny-sdxl-lora.safetensors")) == 258
    predicted = noise.predict(Models(denoiser=unet), noisy_batch(golden), config_of())
    torch.testing.assert_close(predicted.output, golden["out_lora"], rtol=1e-5, atol=1e-5)


def test_size_features_of_the_full_size_model_are_the_references(golden: dict[str, Tensor]) -> None:
    from diffusers.models.embeddings import Timesteps

    features = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
    ids = noise.size_ids(noisy_batch(golden).batch.framings, config_of())
    found = features(ids.flatten()).reshape(2, -1)
    # cosines of numbers around 1000 in float32: one unit in the last place of the argument is 6e-5
    torch.testing.assert_close(found, golden["size_emb_full_1536"], rtol=0, atol=1e-4)


def test_half_precision_denoisers_predict_in_float32(unet: UNet2DConditionModel, golden: dict[str, Tensor]) -> None:
    predicted = noise.predict(Models(denoiser=unet.bfloat16()), noisy_batch(golden), config_of())
    assert predicted.output.dtype == torch.float32
    assert (predicted.output - golden["out"]).abs().mean() < 0.1 * golden["out"].std()


@pytest.mark.parametrize("flipped", [False, True])
def test_contained_sizes_are_the_references(data: Path, flipped: bool) -> None:
    cases = json.loads((data / "size-ids.json").read_text(encoding="utf-8"))["cases"]
    config = config_of(size_ids="contain")
    for case in cases:
        size = (case["bucket"][0], case["bucket"][1])
        framing = Framing((case["image"][0], case["image"][1]), size, (0, 0), size, flipped)
        crop = case["crop_top_left_flipped" if flipped else "crop_top_left"]
        assert noise.size_ids((framing,), config).tolist() == [[*case["original_hw"], *crop, *case["target_hw"]]]


@pytest.mark.parametrize(("flipped", "left"), [(False, 10), (True, 11)])
def test_sizes_tell_the_crop_that_was_really_cut(flipped: bool, left: int) -> None:
    framing = Framing(FRAMING.original, FRAMING.resized, FRAMING.crop, FRAMING.size, flipped)
    assert noise.size_ids((framing,), config_of()).tolist() == [[1080, 1920, 0, left, 768, 1344]]


def batch_at(*timesteps: int, config: Config) -> NoisyBatch:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(len(timesteps), 4, 8, 8, generator=generator)
    said = TextConditioning({"context": torch.zeros(len(timesteps), 7, 24), "pooled": torch.zeros(len(timesteps), 16)})
    names_ = tuple(str(step) for step in timesteps)
    batch = Batch(names_, names_, (FRAMING,) * len(timesteps), latents, said, torch.ones(len(timesteps)))
    drawn = torch.randn(latents.shape, generator=generator)
    return ddpm_steps.noisy(batch, drawn, torch.tensor(timesteps), config)


def test_target_is_the_noise_unless_the_model_predicts_v(unet: UNet2DConditionModel) -> None:
    epsilon, v = config_of(), config_of(v_parameterization=True)
    batch = batch_at(0, 500, config=epsilon)
    share = ddpm.picture_shares()[[0, 500]][:, None, None, None]
    assert torch.equal(noise.predict(Models(denoiser=unet), batch, epsilon).target, batch.noise)
    # v turns the noisy latents back: sqrt(a)·noisy - sqrt(1-a)·v = latents
    target = noise.predict(Models(denoiser=unet), batch, v).target
    back = share.sqrt() * batch.noisy_latents - (1 - share).sqrt() * target
    torch.testing.assert_close(back, batch.batch.latents, rtol=1e-5, atol=1e-5)


def test_denoiser_of_another_kind_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="denoiser"):
        noise.predict(Models(denoiser=nn.Identity()), batch_at(1, config=config_of()), config_of())
