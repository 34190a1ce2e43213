"""The demo: a tiny model of plain things on plain backgrounds learns to draw a striped fish."""

from __future__ import annotations

from pathlib import Path

from loracore import DemoKit
from loracore.testing.striped_fish import striped_fish


def kit() -> DemoKit:
    """Return the tiny model, its pictures, and what a run with them must reach.

    The learning rate is more than a hundred times that of a full-size model: the tiny one has little room to move. The
    shift trains the high noise levels, where place and outline are decided. Adapters of the embedders help to learn the
    concept and to keep ordinary captions what they are: a stream this narrow has no other room for something new.
    """
    options = {
        "network_module": "lora",
        "network_dim": 16,
        "network_alpha": 16,
        "emb_dims": "[16, 16, 16, 16, 16, 16]",
        "network_train_unet_only": True,
        "learning_rate": 1.2e-2,
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 10,
        "max_train_steps": 200,
        "training_shift": 2.0,
    }
    return striped_fish(Path(__file__).parent / "demo_model", batch_size=6, options=options)
