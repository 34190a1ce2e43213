from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loracore_sd3.recognition import check_file, check_folder, check_names
from safetensors.torch import save_file

from loracore import DataError
from loracore.diffusion.files.folders import LocalFolder
from loracore.weights.headers import read_header
from tests.plugins.sd3 import tiny

PREFIX = "model.diffusion_model."
FIRST = f"{PREFIX}input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": (4, 8)}, "a LoRA.*network_weights"),
        ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 8)}, "a LoRA.*network_weights"),
        ({FIRST: (8, 4, 3, 3), f"{PREFIX}label_emb.0.0.weight": (8, 8)}, "an SDXL model; use --arch sdxl"),
        ({FIRST: (8, 4, 3, 3), "cond_stage_model.transformer.text_model.x": (1,)}, "Stable Diffusion 1"),
        ({FIRST: (8, 4, 3, 3), "cond_stage_model.model.ln_final.weight": (1,)}, "Stable Diffusion 2"),
        ({FIRST: (8, 4, 3, 3)}, "Stable Diffusion 1 or 2"),
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "FLUX"),
        ({"transformer_blocks.0.attn.to_q.weight": (8, 8)}, "diffusers' names; give the folder"),
        ({"joint_blocks.0.x": (1,), "x_embedder.proj.weight": (8, 4, 2, 2)}, "4 latent channels"),
        ({"weight": (1,)}, "no Stable Diffusion 3 checkpoint"),
    ],
)
def test_file_of_another_architecture_is_named(tmp_path: Path, names: dict[str, tuple[int, ...]], kind: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, path)
    with pytest.raises(DataError, match=kind) as caught:
        check_file(path, allow_pickle=False)
    assert str(path) in str(caught.value)


def test_files_of_this_architecture_are_accepted(checkpoint: Path, bare: Path, data: Path) -> None:
    for path in (checkpoint, bare, data / "tiny-sd3-mmdit.safetensors", data / "tiny-sd35-mmdit.safetensors"):
        check_file(path, allow_pickle=False)


def test_one_tensor_that_is_missing_makes_no_other_architecture(bare: Path) -> None:
    shapes = dict(read_header(bare).shapes)
    del shapes["x_embedder.proj.weight"]
    check_names(shapes, bare)


def test_pickle_is_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="allow_pickle"):
        check_file(tmp_path / "model.ckpt", allow_pickle=False)
    check_file(tmp_path / "model.ckpt", allow_pickle=True)


@pytest.mark.parametrize(
    ("file", "values", "kind"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "an SDXL model; use --arch sdxl"),
        ("transformer/config.json", {"_class_name": "FluxTransformer2DModel"}, "a model with a FluxTransformer2DModel"),
        ("transformer/config.json", {"in_channels": 4}, "4 latent channels"),
    ],
)
def test_folder_of_another_architecture_is_named(
    folder: Path, tmp_path: Path, file: str, values: dict[str, object], kind: str
) -> None:
    copy = tiny.copy_without(folder, tmp_path / "other", "*.safetensors")
    config = json.loads((copy / file).read_text(encoding="utf-8")) | values
    (copy / file).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match=kind):
        check_folder(LocalFolder(copy))


def test_folder_without_a_transformer_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no transformer/config\.json"):
        check_folder(LocalFolder(tmp_path))


def test_folder_without_an_index_is_accepted(folder: Path, tmp_path: Path) -> None:
    check_folder(LocalFolder(tiny.copy_without(folder, tmp_path / "copy", "model_index.json")))
