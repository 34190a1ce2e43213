from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loracore_sdxl.recognition import UNET, check_file, check_folder, check_names
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import DataError
from loracore.diffusion.files.folders import LocalFolder
from loracore.weights.headers import read_header
from tests.plugins.sdxl import tiny

FIRST = "model.diffusion_model.input_blocks.0.0.weight"


def write(path: Path, **tensors: tuple[int, ...]) -> Path:
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    return path


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": (4, 8)}, "a LoRA"),
        ({"unet.down_blocks.0.attn.to_q.lora_A.weight": (4, 8)}, "a LoRA"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "Stable Diffusion 3"),
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "FLUX"),
        ({FIRST: (8, 4, 3, 3), "cond_stage_model.transformer.text_model.x": (1,)}, "Stable Diffusion 1"),
        ({FIRST: (8, 4, 3, 3), "cond_stage_model.model.ln_final.weight": (1,)}, "Stable Diffusion 2"),
        ({FIRST: (8, 9, 3, 3)}, "inpainting"),
        ({FIRST: (8, 8, 3, 3)}, "takes 8 channels"),
        ({FIRST: (8, 4, 3, 3)}, "Stable Diffusion 1 or 2"),
        ({FIRST: (8, 4, 3, 3), "conditioner.embedders.0.model.ln_final.weight": (8,)}, "refiner"),
        ({FIRST: (8, 4, 3, 3), "model.diffusion_model.label_emb.0.0.weight": (8, 8)}, "reduced SDXL"),
        ({"weight": (1,)}, "no SDXL checkpoint"),
    ],
)
def test_file_of_another_architecture_is_named(tmp_path: Path, names: dict[str, tuple[int, ...]], kind: str) -> None:
    path = write(tmp_path / "other.safetensors", **names)
    with pytest.raises(DataError, match=kind) as caught:
        check_file(path, allow_pickle=False)
    assert str(path) in str(caught.value)


def test_checkpoint_of_this_architecture_is_accepted(checkpoint: Path, data: Path) -> None:
    check_file(checkpoint, allow_pickle=False)
    check_file(data / "tiny-sdxl-unet.safetensors", allow_pickle=False)


@pytest.mark.parametrize(
    "lost", ["input_blocks.0.0.weight", "label_emb.0.0.weight", "middle_block.1.proj_in.weight", "out.2.weight"]
)
def test_one_tensor_that_is_missing_makes_no_other_architecture(checkpoint: Path, lost: str) -> None:
    shapes = dict(read_header(checkpoint).shapes)
    del shapes[UNET + lost]
    check_names(shapes, checkpoint)


def test_checkpoint_without_its_middle_transformer_is_a_reduced_one(checkpoint: Path) -> None:
    lost = (f"{UNET}middle_block.1.", f"{UNET}middle_block.2.")
    shapes = {name: shape for name, shape in read_header(checkpoint).shapes.items() if not name.startswith(lost)}
    with pytest.raises(DataError, match="reduced SDXL"):
        check_names(shapes, checkpoint)


def test_ending_in_capitals_is_a_pickle_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="allow_pickle"):
        check_file(tmp_path / "MODEL.CKPT", allow_pickle=False)


def test_cut_off_file_is_told_from_its_header(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cut off"):
        check_file(path, allow_pickle=False)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip is no safetensors", b"\x10\0\0\0\0\0\0\0not json at all."])
def test_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a \.safetensors file"):
        check_file(path, allow_pickle=False)


def altered(folder: Path, target: Path, file: str, **values: object) -> LocalFolder:
    copy = tiny.copy_without(folder, target, "*.safetensors")
    config = json.loads((copy / file).read_text(encoding="utf-8")) | values
    (copy / file).write_text(json.dumps(config), encoding="utf-8")
    return LocalFolder(copy)


@pytest.mark.parametrize(
    ("file", "values", "kind"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "a model for StableDiffusionPipeline"),
        ("model_index.json", {"text_encoder": [None, None]}, "refiner"),
        ("unet/config.json", {"addition_embed_type": None}, "Stable Diffusion 1 or 2"),
        ("unet/config.json", {"in_channels": 9}, "inpainting"),
        ("unet/config.json", {"mid_block_type": None}, "reduced SDXL"),
    ],
)
def test_folder_of_another_architecture_is_named(
    folder: Path, tmp_path: Path, file: str, values: dict[str, object], kind: str
) -> None:
    with pytest.raises(DataError, match=kind):
        check_folder(altered(folder, tmp_path / "other", file, **values))


def test_folder_without_a_unet_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no unet/config\.json"):
        check_folder(LocalFolder(tmp_path))


def test_folder_without_an_index_is_accepted(folder: Path, tmp_path: Path) -> None:
    check_folder(LocalFolder(tiny.copy_without(folder, tmp_path / "copy", "model_index.json")))


def test_lora_of_this_architecture_is_no_base_model(data: Path) -> None:
    tensors: dict[str, Tensor] = load_file(data / "tiny-sdxl-lora.safetensors")
    assert tensors
    with pytest.raises(DataError, match="network_weights"):
        check_file(data / "tiny-sdxl-lora.safetensors", allow_pickle=False)
