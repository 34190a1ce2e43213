from __future__ import annotations

import pytest

from loracore.config.config import Config
from loracore.diffusion.options import (
    ClipTextOptions,
    DdpmOptions,
    FlowOptions,
    chunk_count,
    clip_text_findings,
    ddpm_findings,
    flow_findings,
)


@pytest.mark.parametrize(("length", "chunks"), [(None, 1), (75, 1), (150, 2), (225, 3)])
def test_token_length_is_counted_in_chunks(length: int | None, chunks: int) -> None:
    config = Config([ClipTextOptions(max_token_length=length)], {})
    assert chunk_count(config) == chunks
    assert clip_text_findings(config) == ()


def test_all_contradictions_are_found_together() -> None:
    options = DdpmOptions(scale_v_pred_loss_like_noise_pred=True, zero_terminal_snr=True)
    found = {finding.option for finding in ddpm_findings(Config([options], {}))}
    assert found == {"scale_v_pred_loss_like_noise_pred", "zero_terminal_snr"}


def test_weighting_of_zero_is_off() -> None:
    options = DdpmOptions(
        min_snr_gamma=0.0, v_pred_like_loss=0.0, v_parameterization=True, debiased_estimation_loss=True
    )
    assert list(ddpm_findings(Config([options], {}))) == []


@pytest.mark.parametrize(
    ("scheme", "idle"),
    [
        ("logit_normal", {"mode_scale"}),
        ("mode", {"logit_mean", "logit_std"}),
        ("sigma_sqrt", {"logit_mean", "logit_std", "mode_scale"}),
    ],
)
def test_settings_of_another_scheme_are_idle(scheme: str, idle: set[str]) -> None:
    options = FlowOptions(weighting_scheme=scheme)  # type: ignore[arg-type]  # one of its words
    given = dict.fromkeys(("logit_mean", "logit_std", "mode_scale"), "run.toml:1")
    assert {finding.option for finding in flow_findings(Config([options], given))} == idle
    assert list(flow_findings(Config([options], {}))) == []
