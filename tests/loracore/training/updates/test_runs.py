"""Whole runs with optimizers and courses that are not the default."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.toy_runs import TrainToy


@pytest.mark.parametrize(
    ("arguments", "optimizer"),
    [
        (
            ("--optimizer_type", "prodigy", "--learning_rate", "1", "--optimizer_args", "d0=0.01"),
            "prodigy.Prodigy(d0=0.01)",
        ),
        (("--optimizer_type", "AdamWScheduleFree", "--lr_scheduler", "cosine"), "schedulefree.AdamWScheduleFree"),
        (("--use_lion_optimizer", "--lr_scheduler", "linear", "--lr_warmup_steps", "50%"), "lion_pytorch.Lion"),
        (("--lr_scheduler_type", "StepLR", "--lr_scheduler_args", "step_size=1"), "torch.optim.adamw.AdamW"),
        (("--optimizer_type", "pytorch_optimizer.CAME"), "pytorch_optimizer.optimizer.came.CAME"),
    ],
)
def test_a_run_trains_and_its_header_names_the_class(
    train_toy: TrainToy, arguments: tuple[str, ...], optimizer: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = train_toy(*arguments)
    with safe_open(path, "pt") as file:
        assert file.metadata()["ss_optimizer"].endswith(optimizer)
    tensors = load_file(path)
    assert all(torch.isfinite(one).all() for one in tensors.values())
    assert any(one.any() for name, one in tensors.items() if "lora_up" in name)


def test_the_run_says_to_which_norm_gradients_are_clipped(train_toy: TrainToy) -> None:
    words = ("--optimizer_type", "SGD", "--learning_rate", "1", "--max_train_steps", "1")
    tensors = load_file(train_toy(*words, "--max_grad_norm", "0.001"))
    ups = [one.flatten() for name, one in tensors.items() if "lora_up" in name]  # 0 at first; the others stay
    assert torch.cat(ups).norm().item() == pytest.approx(0.001, rel=1e-4)
