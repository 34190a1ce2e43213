"""Each part has the precision that the run, the file and its own options ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from loracore_sd3 import encode_images
from safetensors.torch import load_file, save_file

from loracore import DataError
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import DENOISER, TEXT, VAE, loaded

FP8 = torch.float8_e4m3fn
Separate = dict[str, Any]


def test_fp8_files_stay_as_they_are_but_for_what_fp8_cannot_hold(checkpoint: Path, tmp_path: Path) -> None:
    models = loaded(tiny.fp8_file(checkpoint, tmp_path / "fp8.safetensors"), dtype=torch.bfloat16)
    for part, module in models.modules().items():
        for name, layer in module.named_modules():
            for kind, parameter in layer.named_parameters(recurse=False):
                matrix = isinstance(layer, torch.nn.Linear) and kind == "weight" and part != "vae"
                assert parameter.dtype == (FP8 if matrix else torch.bfloat16), f"{name}.{kind}"


def test_vae_of_an_fp8_file_encodes(bare: Path, separate: Separate, tmp_path: Path) -> None:
    vae = tiny.fp8_file(Path(separate["vae"]), tmp_path / "vae.safetensors")
    models = loaded(bare, VAE, dtype=torch.bfloat16, vae=str(vae))
    assert encode_images(models, torch.zeros(1, 3, 16, 16)).mean.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.float8_e4m3fnuz])
def test_other_kinds_of_fp8_are_refused_with_the_reason(checkpoint: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "file.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(checkpoint).items()}, path)
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    with pytest.raises(DataError, match=f"{str(dtype).removeprefix('torch.')}, .*float8_e4m3fn"):
        loaded(path, DENOISER)


def test_fp8_with_scales_is_refused(bare: Path, separate: Separate, tmp_path: Path) -> None:
    path = tmp_path / "t5xxl.safetensors"
    save_file(load_file(separate["t5xxl"]) | {"scaled_fp8": torch.zeros(2).to(FP8)}, path)
    shutil.copytree(Path(separate["t5xxl"]).with_suffix(""), path.with_suffix(""))
    with pytest.raises(DataError, match="scales of their own"):
        loaded(bare, TEXT, **{**separate, "t5xxl": str(path)})


@pytest.mark.parametrize(
    ("chosen", "matrices", "wide", "norms"),
    [
        (None, torch.bfloat16, torch.bfloat16, torch.bfloat16),
        ("fp32", torch.float32, torch.float32, torch.float32),
        ("fp16", torch.float16, torch.float32, torch.float16),
        ("fp8_e4m3fn", FP8, FP8, torch.bfloat16),
    ],
)
def test_t5_has_a_precision_of_its_own(
    folder: Path, chosen: str | None, matrices: torch.dtype, wide: torch.dtype, norms: torch.dtype
) -> None:
    models = loaded(folder, TEXT, dtype=torch.bfloat16, t5xxl_dtype=chosen)
    block = "encoder.block.0.layer"
    names = (f"{block}.0.SelfAttention.q.weight", f"{block}.1.DenseReluDense.wo.weight", f"{block}.0.layer_norm.weight")
    assert [models.text["te3"].get_parameter(name).dtype for name in names] == [matrices, wide, norms]
    assert {parameter.dtype for parameter in models.text["te1"].parameters()} == {torch.bfloat16}


def test_t5_has_a_device_of_its_own(folder: Path) -> None:
    models = loaded(folder, TEXT, t5xxl_device="meta")
    devices = {name: next(encoder.parameters()).device.type for name, encoder in models.text.items()}
    assert devices == {"te1": "cpu", "te2": "cpu", "te3": "meta"}
