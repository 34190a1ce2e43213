from __future__ import annotations

import pytest
import torch

from loracore import ConfigError, ModelOptions, TrainingOptions
from loracore.training.processes import Processes
from loracore.training.updates.moving import check_fused, trained_dtype, try_moving

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


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (TrainingOptions(optimizer_args=("wheels=4",)), "takes no argument 'wheels'"),
        (TrainingOptions(lr_scheduler="cosine", lr_scheduler_args=("wheels=4",)), "cosine takes no argument 'wheels'"),
        (TrainingOptions(lr_scheduler_type="StepLR"), "StepLR refuses its arguments"),
    ],
)
def test_what_cannot_be_made_is_said_before_models_are_loaded(training: TrainingOptions, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        try_moving(training)


@pytest.mark.parametrize("name", ["AdamW", "Adafactor", "AdamWScheduleFree", "Prodigy"])
def test_what_can_be_made_passes(name: str) -> None:
    try_moving(TrainingOptions(optimizer_type=name, lr_scheduler="cosine"))
