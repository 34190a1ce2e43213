"""A U-Net whose matrices are stored in fewer bits trains as the wide one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from loracore_sdxl import targets
from torch import Tensor

from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.linear import QuantisedLinear
from tests.plugins.loss_curves import assert_near, assert_within_gate, early_gradients, targets_kept
from tests.plugins.sdxl.runs import DENOISER, config_of, loaded
from tests.plugins.sdxl.test_memory import answer, unet_models


def gradients(form: str = "given") -> Tensor:
    models = unet_models()
    return early_gradients(models, lambda: answer(models), form)


@pytest.fixture(scope="module")
def wide() -> Tensor:
    return gradients()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_point_where_those_of_the_wide_model_do(form: str, wide: Tensor) -> None:
    assert_near(form, gradients(form), wide)


def test_targets_are_those_of_the_wide_model(folder: Path) -> None:
    config = config_of(folder, base_model_precision="nf4")
    found = targets_kept(targets.every, loaded(folder, DENOISER), config)
    assert any(isinstance(layer, QuantisedLinear) for one in found for layer in one.layers)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_losses_stay_within_the_gate(folder: Path, tmp_path: Path) -> None:
    assert_within_gate(folder, tmp_path, "--arch", "sdxl")
