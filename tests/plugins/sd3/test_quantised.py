"""A transformer whose matrices are stored in fewer bits trains as the wide one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from loracore_sd3 import targets
from torch import Tensor

from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.linear import QuantisedLinear
from tests.loracore.memory.adapted import models_of
from tests.loracore.memory.test_joint_blocks import answer, joint_transformer
from tests.plugins.loss_curves import assert_near, assert_within_gate, early_gradients, targets_kept
from tests.plugins.sd3.runs import DENOISER, config_of, loaded


def gradients(form: str = "given") -> Tensor:
    transformer = joint_transformer()
    models = models_of(transformer, list(transformer.transformer_blocks))
    return early_gradients(models, lambda: answer(models), form)


@pytest.fixture(scope="module")
def wide() -> Tensor:
    return gradients()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_point_where_those_of_the_wide_model_do(form: str, wide: Tensor) -> None:
    assert_near(form, gradients(form), wide)


@pytest.mark.parametrize("form", FORMS)
def test_targets_are_those_of_the_wide_model(folder: Path, form: str) -> None:
    config = config_of(folder, base_model_precision=form)
    found = targets_kept(targets.every, loaded(folder, DENOISER), config)
    inside = [layer for one in found if one.block is not None for layer in one.layers]
    assert inside
    assert all(isinstance(layer, QuantisedLinear) for layer in inside)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_losses_stay_within_the_gate(folder: Path, tmp_path: Path) -> None:
    assert_within_gate(folder, tmp_path, "--arch", "sd3")
