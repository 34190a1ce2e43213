"""Folder and single file give the same model, and files of others are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from loracore_sd15 import check_models, load_models
from loracore_sd15.recognition import check_file, check_folder
from safetensors.torch import load_file, save_file
from tiny_sd15 import MakeConfig, original_tensors
from torch import Tensor, nn

from loracore import ConfigError, DataError, Models, Part
from loracore.diffusion.files.folders import LocalFolder

ALL: frozenset[Part] = frozenset({"text", "vae", "denoiser"})
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def loaded(config: MakeConfig, model: Path) -> Models:
    return load_models(ALL, torch.device("cpu"), torch.float32, config(model))


def test_file_and_folder_hold_the_same_weights(
    config: MakeConfig, folder: Path, checkpoint: Path, parts: dict[str, nn.Module]
) -> None:
    for model in (folder, checkpoint):
        for name, module in loaded(config, model).modules().items():
            torch.testing.assert_close(module.state_dict(), parts[name].state_dict(), rtol=0, atol=0)


def test_the_original_names_are_those_that_diffusers_converts(parts: dict[str, nn.Module]) -> None:
    unet = parts["unet"]
    assert isinstance(unet, UNet2DConditionModel)
    converted = convert_ldm_unet_checkpoint(original_tensors(parts), dict(unet.config))
    torch.testing.assert_close(dict(converted), unet.state_dict(), rtol=0, atol=0)


def test_blocks_are_listed_in_the_order_of_execution(config: MakeConfig, folder: Path) -> None:
    models, seen = loaded(config, folder), list[nn.Module]()
    blocks = models.blocks["unet"]
    for block in blocks:
        block.register_forward_pre_hook(lambda module, _: seen.append(module))
    assert models.denoiser is not None
    models.denoiser(torch.zeros(1, 4, 8, 8), torch.tensor([5]), torch.zeros(1, 77, 16))
    assert seen == list(blocks)
    assert len(blocks) == 22 + 16  # resnets and transformers


def without(*prefixes: str) -> Change:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def inpainting(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 9, 3, 3)}


def with_matrices(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.flatten(1) if "proj_in.weight" in name else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("cond_stage_model.", "conditioner.embedders.0."), "this is an SDXL model"),
        (renamed(".time_embed.", ".label_emb."), "this is an SDXL model"),
        (renamed("cond_stage_model.transformer.", "cond_stage_model.model."), "this is a Stable Diffusion 2 model"),
        (with_matrices, "this is a Stable Diffusion 2 model"),
        (inpainting, "takes 9 channels, not 4"),
        (renamed(".weight", ".lora_down.weight"), "this is a LoRA, not a base model"),
        (without("model.diffusion_model."), "this is no Stable Diffusion 1 checkpoint"),
    ],
)
def test_a_file_of_something_else_is_refused(change: Change, message: str, checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(checkpoint)).items()}, path)
    with pytest.raises(DataError, match=message):
        check_file(path, allow_pickle=False)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("model_index.json", '{"_class_name": "StableDiffusionXLPipeline"}', "an SDXL model"),
        ("model_index.json", '{"_class_name": "StableDiffusion3Pipeline"}', "a Stable Diffusion 3 model"),
        ("model_index.json", '{"_class_name": "KolorsPipeline"}', "a model for KolorsPipeline"),
        ("unet/config.json", '{"addition_embed_type": "text_time"}', "an SDXL model"),
        ("unet/config.json", '{"use_linear_projection": true}', "a Stable Diffusion 2 model"),
        ("unet/config.json", '{"in_channels": 9}', "takes 9 channels, not 4"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    file: str, text: str, message: str, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "other"))
    (copy / file).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        check_folder(LocalFolder(copy))


def test_a_missing_text_encoder_is_told_for_file_and_folder(
    config: MakeConfig, folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "headless.safetensors"
    save_file(without("cond_stage_model.")(load_file(checkpoint)), path)
    with pytest.raises(DataError, match=r"text encoder \(CLIP-L\) is not in this file"):
        check_models(ALL, config(path))
    copy = Path(shutil.copytree(folder, tmp_path / "headless", ignore=shutil.ignore_patterns("text_encoder")))
    with pytest.raises(DataError, match=r"text_encoder/config.json is missing"):
        check_models(ALL, config(copy))


def test_a_missing_tensor_is_told_by_its_name(config: MakeConfig, checkpoint: Path, tmp_path: Path) -> None:
    lost = "model.diffusion_model.output_blocks.5.2.conv.weight"
    path = tmp_path / "holed.safetensors"
    save_file(without(lost)(load_file(checkpoint)), path)
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    with pytest.raises(DataError, match=rf"U-Net: the tensor {lost} is missing"):
        check_models(ALL, config(path))


def test_no_more_layers_are_skipped_than_there_are(config: MakeConfig, folder: Path) -> None:
    check_models(ALL, config(folder, clip_skip=3))
    with pytest.raises(ConfigError, match=r"--clip_skip: the text encoder has 3 layers \(give 3 or less\)"):
        check_models(ALL, config(folder, clip_skip=4))
