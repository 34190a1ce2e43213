from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loracore_sdxl.models import file_names

from loracore import Models
from tests.plugins.sdxl.runs import ALL, config_of, loaded


@pytest.fixture(params=["folder", "checkpoint"])
def model(request: pytest.FixtureRequest) -> Path:
    """Return a tiny model, in both layouts."""
    path: Path = request.getfixturevalue(request.param)
    return path


def assert_same(one: Models, other: Models) -> None:
    for name, module in one.modules().items():
        torch.testing.assert_close(dict(module.state_dict()), dict(other.modules()[name].state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_read_without_mapping_are_the_same(
    model: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    mapped = loaded(model, dtype=dtype)
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    assert_same(mapped, loaded(model, dtype=dtype, disable_mmap_load_safetensors=True))


def test_the_mapped_reader_is_used_otherwise(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    with pytest.raises(TypeError):
        loaded(model)


def test_tools_on_files_read_without_mapping_too(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    for part in file_names(ALL, config_of(model, disable_mmap_load_safetensors=True)).values():
        assert {name for name, _ in part.read(list(part.original), torch.device("cpu"))} == set(part.original)
