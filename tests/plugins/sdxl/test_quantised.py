"""A U-Net whose matrices are stored in fewer bits trains as the wide one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loracore_sdxl import targets
from torch import Tensor

from loracore.memory.fitting import store_weights
from loracore.memory.quantised.forms import FORMS
from tests.plugins.loss_curves import COSINES, GATE, cosine, early_gradients, gate_shares
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
    assert COSINES[form] < cosine(gradients(form), wide) < 1 - 1e-7


def test_targets_are_those_of_the_wide_model(folder: Path) -> None:
    config = config_of(folder, base_model_precision="nf4")
    models = loaded(folder, DENOISER)
    expected = [(one.key, one.paths) for one in targets.every(models, config)]
    store_weights(models, torch.float32, config)
    assert [(one.key, one.paths) for one in targets.every(models, config)] == expected


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_losses_stay_within_the_gate(folder: Path, tmp_path: Path) -> None:
    shares = gate_shares(folder, tmp_path, "--arch", "sdxl")
    assert shares.keys() == FORMS.keys()
    assert {form: share for form, share in shares.items() if not 0 < share < GATE} == {}
