"""The plugin keeps the contract of architectures, by the door that strangers use."""

from __future__ import annotations

import pytest
from loracore_sd3.demo_kit import kit

from loracore.testing import check_architecture


@pytest.mark.timeout(600)
def test_the_architecture_keeps_the_contract() -> None:
    model = kit().options["pretrained_model_name_or_path"]
    dropouts = {"clip_l_dropout_rate": 0.3, "clip_g_dropout_rate": 0.3}
    check_architecture("sd3", pretrained_model_name_or_path=model, training_shift=2.0, **dropouts)
