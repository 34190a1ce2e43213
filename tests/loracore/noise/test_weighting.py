from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loracore.noise import weighting
from loracore.noise.ddpm import noise_level, picture_shares, signal_to_noise

NOTHING = torch.zeros(1)  # the ratio where nothing of the picture is left


@pytest.fixture
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))
    return found


def ratios(case: dict[str, Any]) -> Tensor:
    return signal_to_noise(noise_level(picture_shares()))[case["timesteps"]]


def assert_near(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [1, 5])
@pytest.mark.parametrize("kind", ["eps", "v"])
def test_min_snr_gamma_is_the_references(golden: dict[str, Any], gamma: int, kind: str) -> None:
    case = golden[f"min_snr_gamma_{gamma}"]
    assert_near(weighting.min_snr_gamma(ratios(case), gamma, predicts_v=kind == "v"), case[kind])


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_debiased_estimation_is_the_references(golden: dict[str, Any], kind: str) -> None:
    case = golden["debiased_estimation"]
    assert_near(weighting.debiased_estimation(ratios(case), predicts_v=kind == "v"), case[kind])


def test_noise_like_v_is_the_references(golden: dict[str, Any]) -> None:
    case = golden["scale_v_pred_loss_like_noise_pred"]
    assert_near(weighting.noise_like_v(ratios(case)), case["scale"])


@pytest.mark.parametrize(("share", "name"), [(0.5, "w_0_5"), (1.0, "w_1")])
def test_v_like_noise_is_the_references(golden: dict[str, Any], share: float, name: str) -> None:
    case = golden["v_pred_like_loss"]
    assert_near(weighting.v_like_noise(ratios(case), share), case[name])


def test_weights_are_finite_where_nothing_of_the_picture_is_left() -> None:
    assert weighting.min_snr_gamma(NOTHING, 5.0, predicts_v=False).item() == 1
    assert weighting.min_snr_gamma(NOTHING, 5.0, predicts_v=True).item() == 0
    assert weighting.debiased_estimation(NOTHING, predicts_v=False).isfinite()
    assert weighting.v_like_noise(NOTHING, 1.0).isfinite()


def test_the_guard_against_division_by_zero_touches_no_ordinary_step(golden: dict[str, Any]) -> None:
    assert min(golden["sdxl_schedule"]["all_snr"]) > 10 * weighting.LEAST_SNR
