"""The demo: a tiny model of plain things on plain backgrounds learns to draw a striped fish."""

from __future__ import annotations

from pathlib import Path

from loracore import DemoKit
from loracore.testing.striped_fish import striped_fish


def kit() -> DemoKit:
    """Return the tiny model, its pictures, and what a run with them must reach.

    The learning rate is some forty times that of a full-size model: the tiny one has little room to move. The debiased
    loss trains the high noise levels, where colour and place are decided.
    """
    options = {
        "network_module": "lora",
        "network_dim": 8,
        "network_alpha": 8,
        "conv_dim": 8,
        "conv_alpha": 8,
        "network_train_unet_only": True,
        "learning_rate": 4e-3,
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 10,
        "max_train_steps": 260,
        "debiased_estimation_loss": True,
    }
    return striped_fish(Path(__file__).parent / "demo_model", batch_size=6, options=options)
