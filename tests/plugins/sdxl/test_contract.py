"""The plugin keeps the contract of architectures, by the door that strangers use."""

from __future__ import annotations

import pytest
from loracore_sdxl.demo_kit import kit

from loracore.testing import check_architecture


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_architecture_keeps_the_contract() -> None:
    model = kit().options["pretrained_model_name_or_path"]
    noise = {"noise_offset": 0.1, "ip_noise_gamma": 0.1, "min_snr_gamma": 5.0}
    check_architecture("sdxl", pretrained_model_name_or_path=model, **noise)
