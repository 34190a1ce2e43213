from __future__ import annotations

from typing import Literal

import pytest

from loracore.config.config import Config
from loracore.config.options import LossOptions
from loracore.defaults.findings.loss_findings import loss_findings

HUBER = ("huber_schedule", "huber_c", "huber_scale")


def idle(options: LossOptions, *given: str) -> list[str]:
    findings = list(loss_findings(Config([options], dict.fromkeys(given, "run.toml:1"))))
    assert all(finding.fate == "without effect" for finding in findings)
    return [finding.option for finding in findings]


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_options_of_huber_mean_nothing_to_other_losses(loss: Literal["l2", "l1"]) -> None:
    assert idle(LossOptions(loss_type=loss), *HUBER) == list(HUBER)
    assert idle(LossOptions(loss_type=loss)) == []


@pytest.mark.parametrize("loss", ["huber", "smooth_l1"])
def test_a_scale_means_nothing_to_the_schedule_that_follows_the_noise(loss: Literal["huber", "smooth_l1"]) -> None:
    assert idle(LossOptions(loss_type=loss), *HUBER) == ["huber_scale"]
    assert idle(LossOptions(loss_type=loss, huber_schedule="constant"), *HUBER) == []
