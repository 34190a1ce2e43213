from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from loracore.noise import flow


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "data" / "training.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def assert_near(found: Tensor, expected: list[float]) -> None:
    """Within the tolerance that the golden file states."""
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def levels(scheme: str, uniform: Tensor) -> Tensor:
    """The levels that the golden file's uniform numbers stand for; normal ones are their inverse distribution."""
    if scheme.startswith("mode"):
        return flow.mode_levels(uniform, float([*scheme.split("_"), "1.29"][1]))
    if scheme.startswith("logit_normal"):
        mean, std = (float(word) for word in (scheme.split("_")[2:] or (0, 1)))
        return flow.logit_normal_levels(torch.special.ndtri(uniform), mean, std)
    return uniform


def test_levels_are_the_references(golden: dict[str, Any]) -> None:
    case = golden["sd3_density"]
    for scheme, expected in case["out"].items():
        assert_near(levels(scheme, torch.tensor(case["u_in"])), expected)


def test_timesteps_and_sigmas_are_the_references(golden: dict[str, Any]) -> None:
    case = golden["sd3_timesteps_sigmas"]
    for name, expected in case["cases"].items():
        scheme, *settings = name.split("|")
        shift, smallest, largest = (setting.partition("=")[2] for setting in settings)
        shifted = flow.shifted_levels(levels(scheme, torch.tensor(case["u_in"])), float(shift))
        bounds = (0, 1000) if smallest == "None" else (int(smallest), int(largest))
        timesteps = flow.level_timesteps(shifted, *bounds)
        assert timesteps.tolist() == expected["timestep"], name
        sigma = flow.noise_share(timesteps)
        assert_near(sigma, expected["sigma"])
        rows = len(sigma)
        assert_near(
            flow.add_noise(torch.full((rows, 1), 2.0), torch.full((rows, 1), -1.0), sigma)[:, 0], expected["noisy"]
        )


@pytest.mark.parametrize("scheme", ["sigma_sqrt", "cosmap"])
def test_loss_weights_are_the_references_and_finite_without_noise(golden: dict[str, Any], scheme: str) -> None:
    case = golden["sd3_loss_weighting"]
    weight = flow.plain_velocity_weight if scheme == "sigma_sqrt" else flow.cosine_map_weight
    found, expected = weight(torch.tensor(case["sigma"])), case[scheme]
    if scheme == "sigma_sqrt":  # the reference divides by zero there
        assert expected[0] == "inf"
        assert found[0].item() == pytest.approx(1e6, rel=1e-5)
    assert_near(found[1:], expected[1:])


def test_prediction_and_target_are_the_references(golden: dict[str, Any]) -> None:
    case = golden["sd3_prediction_and_target"]
    latent, noise, noisy, said = (torch.tensor([[case[name]]]) for name in ("latent", "noise", "noisy", "model_out"))
    sigma = torch.tensor([case["sigma"]])
    assert_near(flow.add_noise(latent, noise, sigma)[0], [case["noisy"]])
    found = flow.picture_of(noisy, said, sigma)
    assert_near(found[0], [case["pred"]])
    assert_near(((found - latent) ** 2)[0], [case["elementwise_l2"]])


def test_training_scale_is_the_references(golden: dict[str, Any]) -> None:
    case = golden["sd3_flow_scheduler"]
    falling = (flow.STEPS - torch.tensor(case["index"])) / flow.STEPS
    for shift in (1, 3):
        assert_near(flow.shifted_levels(falling, shift) * flow.STEPS, case[f"shift_{shift}"])


def test_timesteps_keep_every_digit_that_bfloat16_would_lose(golden: dict[str, Any]) -> None:
    case = golden["sd3_timesteps_sigmas"]
    whole = torch.tensor(case["bf16_in"])
    assert whole.to(torch.bfloat16).tolist() == case["bf16_timestep"] != whole.tolist()
    found = flow.level_timesteps((whole + 0.5) / flow.STEPS, 0, flow.STEPS)
    assert (found.dtype, found.tolist()) == (torch.float32, whole.tolist())


def test_plain_weight_makes_the_pictures_error_the_velocitys() -> None:
    latents, noise, said = torch.randn(3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.5, 0.7, 1.0])
    found = flow.picture_of(flow.add_noise(latents, noise, sigma), said, sigma)
    errors = ((found - latents) ** 2).sum((1, 2, 3)) * flow.plain_velocity_weight(sigma)
    torch.testing.assert_close(errors, ((said - (noise - latents)) ** 2).sum((1, 2, 3)), rtol=1e-4, atol=1e-5)


@given(st.floats(0, 1, exclude_max=True, width=32), st.floats(-1, 20), st.floats(0.1, 10))
def test_levels_never_leave_picture_and_noise(uniform: float, scale: float, shift: float) -> None:
    found = flow.shifted_levels(flow.mode_levels(torch.tensor([uniform]), scale), shift)
    assert 0 <= found.item() <= 1
