from __future__ import annotations

import pytest
import torch

from loracore import ConfigError, ModelOptions, TrainingOptions
from loracore.training.processes import Processes
from loracore.training.updates.moving import check_fused, trained_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (ModelOptions(mixed_precision="bf16"), torch.float32),
        (ModelOptions(mixed_precision="bf16", full_bf16=True), torch.bfloat16),
        (ModelOptions(mixed_precision="fp16", full_fp16=True), torch.float16),
    ],
)
def test_adapters_are_trained_in_float32_unless_asked_otherwise(model: ModelOptions, dtype: torch.dtype) -> None:
    assert trained_dtype(model) == dtype


def test_a_fused_backward_pass_is_for_one_process() -> None:
    fused = TrainingOptions(fused_backward_pass=True, optimizer_type="Adafactor")
    check_fused(fused, Processes(CPU, 0, 1))
    check_fused(TrainingOptions(), Processes(CPU, 0, 2))
    with pytest.raises(ConfigError, match="in one process only"):
        check_fused(fused, Processes(CPU, 0, 2))
