from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore import LoracoreError
from loracore.training.checkpoints import save_dtype, write_network


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_network(path, {"x": torch.arange(3.0)}, {"ss_a": "b"})
    assert torch.equal(load_file(path)["x"], torch.arange(3.0))


def test_tensors_that_are_not_finite_never_replace_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"good")
    with pytest.raises(LoracoreError, match="not finite"):
        write_network(path, {"x": torch.tensor(float("nan"))}, {})
    assert path.read_bytes() == b"good"


def test_precision_names_are_the_fields() -> None:
    assert [save_dtype(name) for name in (None, "float", "fp16", "bf16")] == [
        torch.float32,
        torch.float32,
        torch.float16,
        torch.bfloat16,
    ]
    assert save_dtype(None, torch.bfloat16) == torch.bfloat16
