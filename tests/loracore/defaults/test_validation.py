from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loracore.config.options import ValidationOptions
from loracore.defaults.validation import due_scopes
from loracore.training.steps.length import Length

#: Epochs of three steps, the last one shorter.
LENGTH = Length(batches_per_epoch=3, steps_per_epoch=3, steps=8, epochs=3)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {3: ["epoch"], 6: ["epoch"], 8: ["epoch"]}),
        ({"validate_every_n_epochs": 2}, {6: ["epoch"]}),
        ({"validate_every_n_epochs": 3}, {8: ["epoch"]}),
        ({"validate_every_n_steps": 5}, {5: ["step"]}),
        ({"validate_every_n_steps": 3, "validate_every_n_epochs": 2}, {3: ["step"], 6: ["step", "epoch"]}),
        ({"validate_every_n_epochs": 0}, {}),
        ({"validate_every_n_steps": 0, "validate_every_n_epochs": 0}, {}),
        ({"validate_every_n_steps": 0}, {3: ["epoch"], 6: ["epoch"], 8: ["epoch"]}),
    ],
)
def test_what_is_due_when(options: Mapping[str, Any], wanted: Mapping[int, list[str]]) -> None:
    found = {step: list(due_scopes(ValidationOptions(**options), LENGTH, step)) for step in range(1, 9)}
    assert {step: scopes for step, scopes in found.items() if scopes} == wanted
    assert ValidationOptions(**options).validates == bool(wanted)
