from __future__ import annotations

from typing import Literal

import pytest

from loracore.config.config import Config
from loracore.config.dataset_spec import CaptionRules, DatasetSpec, SubsetSpec
from loracore.config.options import LossOptions, ModelOptions, PreviewOptions
from loracore.diffusion.options import (
    ClipTextOptions,
    DdpmOptions,
    FlowOptions,
    VaeOptions,
    chunk_count,
    clip_text_findings,
    ddpm_findings,
    flow_findings,
    upcasts_vae,
    vae_findings,
)


@pytest.mark.parametrize(("length", "chunks"), [(None, 1), (75, 1), (150, 2), (225, 3)])
def test_token_length_is_counted_in_chunks(length: int | None, chunks: int) -> None:
    config = Config([ClipTextOptions(max_token_length=length)], {})
    assert chunk_count(config) == chunks
    assert list(clip_text_findings(config)) == []


def data_set(**rules: float) -> DatasetSpec:
    subset = SubsetSpec(None, 1, "a.toml:1", captions=CaptionRules(**rules))  # type: ignore[arg-type]  # tests give the right types
    return DatasetSpec(
        (64, 64),
        1,
        enable_bucket=False,
        min_bucket_reso=64,
        max_bucket_reso=64,
        bucket_reso_steps=64,
        bucket_no_upscale=False,
        subsets=(subset,),
    )


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, []),
        ({"caption_dropout_rate": 0.5}, []),
        ({"shuffle_caption": True}, ["shuffle_caption"]),
        ({"caption_tag_dropout_rate": 0.1, "token_warmup_step": 5}, ["caption_tag_dropout_rate, token_warmup_step"]),
    ],
)
def test_rules_that_tear_brackets_apart_are_told_of_weighted_captions(rules: dict[str, float], told: list[str]) -> None:
    for weighted in (True, False):
        config = Config([ClipTextOptions(weighted_captions=weighted)], {}).with_datasets(
            [data_set(), data_set(**rules)]
        )
        found = list(clip_text_findings(config))
        assert [(one.fate, one.option) for one in found] == [("without effect", "weighted_captions")] * len(
            told
        ) * weighted
        assert all(words in one.message for one, words in zip(found, told, strict=False))


@pytest.mark.parametrize(("precision", "idle"), [("no", True), ("fp16", False), ("bf16", False)])
def test_a_vae_in_float32_is_nothing_new_in_a_run_of_float32(
    precision: Literal["no", "fp16", "bf16"], idle: bool
) -> None:
    config = Config([VaeOptions(no_half_vae=True), ModelOptions(mixed_precision=precision)], {})
    assert [finding.option for finding in vae_findings(config)] == ["no_half_vae"] * idle
    assert upcasts_vae(config) is not idle


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
    others = (LossOptions(), PreviewOptions())
    assert {finding.option for finding in flow_findings(Config([options, *others], given))} == idle
    assert list(flow_findings(Config([options, *others], {}))) == []


def huber_on_flow(options: LossOptions, *given: str) -> list[tuple[str, object]]:
    tables, places = [FlowOptions(), PreviewOptions(), options], dict.fromkeys(given, "run.toml:1")
    return [(finding.fate, finding.value) for finding in flow_findings(Config(tables, places))]


@pytest.mark.parametrize("loss", ["huber", "smooth_l1"])
def test_flow_has_no_ratio_that_huber_could_follow(loss: Literal["huber", "smooth_l1"]) -> None:
    assert huber_on_flow(LossOptions(loss_type=loss)) == [("implied", "exponential")]
    assert huber_on_flow(LossOptions(loss_type=loss), "huber_schedule") == [("wrong", None)]
    assert huber_on_flow(LossOptions(loss_type=loss, huber_schedule="constant"), "huber_schedule") == []


def test_flow_does_without_huber_in_other_losses() -> None:
    assert huber_on_flow(LossOptions(), "huber_schedule") == []


@pytest.mark.parametrize("offset", [None, 0.0])
def test_an_adaptive_offset_needs_an_offset(offset: float | None) -> None:
    options = DdpmOptions(adaptive_noise_scale=0.05, noise_offset=offset)
    found = list(ddpm_findings(Config([options], {})))
    assert [(finding.fate, finding.option) for finding in found] == [("wrong", "adaptive_noise_scale")]


def test_noise_options_that_belong_to_another_are_idle_without_it() -> None:
    alone = {"noise_offset_random_strength": True, "ip_noise_gamma_random_strength": True}
    names, places = [*alone, "multires_noise_discount"], {"multires_noise_discount": "run.toml:1"}
    found = list(ddpm_findings(Config([DdpmOptions(**alone)], places)))
    assert {(finding.fate, finding.option) for finding in found} == {("without effect", name) for name in names}
    whole = DdpmOptions(noise_offset=0.1, ip_noise_gamma=0.1, multires_noise_iterations=6, **alone)
    assert list(ddpm_findings(Config([whole], places))) == []
