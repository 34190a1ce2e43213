"""Values in a few words: kinds and shapes, never what is in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from loracore.trace_words import described
from loracore.types import Batch, Event, Latents, LoraTarget, Models, NoisyBatch, Prediction, TextConditioning

LATENTS = torch.zeros(2, 4, 8, 6)
BATCH = Batch(("a", "b"), ("", ""), (), LATENTS, TextConditioning({}), torch.ones(2))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (True, "True"),
        (0.25, "0.25"),
        ("text", "'text'"),
        ("a" * 50, f"'{'a' * 40}…'"),
        (Path("some") / "file", repr(str(Path("some") / "file"))),
        (LATENTS, "Tensor float32 (2,4,8,6) cpu"),
        (torch.zeros(2, dtype=torch.bfloat16, device="meta"), "Tensor bfloat16 (2) meta"),
        (torch.bfloat16, "torch.bfloat16"),
        (torch.device("meta"), "meta"),
        (BATCH, "Batch(2,4,8,6)"),
        (NoisyBatch(BATCH, LATENTS, LATENTS, torch.ones(2), torch.ones(2)), "NoisyBatch(2,4,8,6)"),
        (Prediction(LATENTS, LATENTS), "Prediction(2,4,8,6)"),
        (Latents(LATENTS, LATENTS), "Latents(2,4,8,6)"),
        (Models(text={"te1": nn.Identity()}, denoiser=nn.Identity()), "Models(te1, unet)"),
        (TextConditioning({"pooled": torch.zeros(2, 8)}), "TextConditioning(pooled (2,8))"),
        (LoraTarget("lora_unet_mid", (), (), "unet"), "LoraTarget(lora_unet_mid)"),
        (Event("step", 3, {}), "Event(step, step 3)"),
        ((1, "b"), "[1, 'b']"),
        (list(range(9)), "[0, 1, 2, … 9 in all]"),
        ({"width": 8}, "{width: 8}"),
        (Path, "Path"),
        (object(), "object"),
    ],
)
def test_a_value_is_described_in_a_few_words(value: Any, words: str) -> None:
    assert described(value) == words


def test_tensors_are_known_without_an_import_of_torch() -> None:
    program = (
        "import sys; from loracore.trace_words import described; described(object()); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["False"]
