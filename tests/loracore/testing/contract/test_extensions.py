"""Extensions that keep the contract pass, whatever they are about."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loracore import PluginError
from loracore.testing import ContractError, check_extension, install_metadata

pytestmark = pytest.mark.timeout(180)

HEAD = '''\
"""An extension."""

from dataclasses import dataclass, replace
from typing import Annotated

from loracore import Finding, hookimpl, option

LORACORE_API = 1


@dataclass(frozen=True)
class OwnOptions:
    """Its own."""

    own_share: Annotated[float, option("share", ge=0, le=1)] = 0.0
    own_words: Annotated[str, option("what is said")] = "step"


@hookimpl
def options():
    return (OwnOptions,)
'''
TOP = 'own_top: Annotated[int, option("highest timestep", gt=0, le=1000)] = 1000'
TELLING = (
    HEAD
    + """

@hookimpl
def step_done(run, step, config):
    run.tell("note", step, text=config[OwnOptions].own_words)
""".replace("run, step, config", "run, step").replace("config[", "run.config[")
)
DRAWING = (
    HEAD
    + """

@hookimpl
def check_options(config):
    if config.given("own_share") and config[OwnOptions].own_words == "step":
        return [Finding("without effect", "own_share", "own_share: nothing is said to be shared")]
    return []


@hookimpl
def draw_noise(batch, rng):
    return rng.normal(*batch.latents.shape[1:]) * 0.5


@hookimpl(wrapper=True)
def prepare_batch(batch, rng, config):
    prepared = yield
    kept = (rng.uniform() >= 0.5)[:, None]
    tensors = {name: tensor * kept for name, tensor in prepared.conditioning.tensors.items()}
    return replace(prepared, conditioning=replace(prepared.conditioning, tensors=tensors))
"""
)

POLICY = (
    HEAD.replace("hookimpl, option", "TrainingOptions, hookimpl, option")
    + """

@hookimpl
def check_options(config):
    if config[TrainingOptions].learning_rate > config[OwnOptions].own_share:
        return [Finding("wrong", "learning_rate", "no run of this house learns as fast", "take a lower rate")]
    return []
"""
)
CLAMPING = (
    HEAD.replace('own_share: Annotated[float, option("share", ge=0, le=1)] = 0.0', TOP)
    + """

@hookimpl(wrapper=True)
def draw_timesteps(config):
    timesteps = yield
    return timesteps.clamp(max=config[OwnOptions].own_top)
"""
)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    site = tmp_path / "site"
    install_metadata(site, "loracore-own", "1.0", {"loracore.extensions": {"own": "own_extension"}})
    monkeypatch.syspath_prepend(str(site))

    def checked(source: str, **options: object) -> None:
        (site / "own_extension.py").write_text(source, encoding="utf-8")
        check_extension("own", **options)

    yield checked
    sys.modules.pop("own_extension", None)


def test_an_extension_that_only_listens_passes(check: Callable[..., None]) -> None:
    check(TELLING)


def test_draws_from_rng_and_options_that_are_said_to_be_without_effect_pass(check: Callable[..., None]) -> None:
    check(DRAWING)


def test_an_extension_that_only_refuses_options_of_others_passes(check: Callable[..., None]) -> None:
    check(POLICY, own_share=0.5)


def test_an_option_that_counts_far_from_its_default_alone_passes(check: Callable[..., None]) -> None:
    check(CLAMPING)


def test_of_an_option_without_effect_every_value_that_was_tried_is_told(check: Callable[..., None]) -> None:
    source = CLAMPING.replace("config[OwnOptions].own_top", "1000")
    with pytest.raises(ContractError, match=r"option own_top .*\(tried: 999, 500, 1\)"):
        check(source)


def test_a_default_may_be_answered_but_not_by_numbers_of_no_rng(check: Callable[..., None]) -> None:
    source = DRAWING.replace("rng.normal(*batch.latents.shape[1:])", "batch.latents.clone().normal_()")
    with pytest.raises(ContractError, match=r"draw_noise \(own_extension.py:\d+\): draws from a global generator"):
        check(source)


def test_an_option_that_is_silently_without_effect_is_told(check: Callable[..., None]) -> None:
    source = DRAWING.replace('config.given("own_share")', "False")
    with pytest.raises(ContractError, match=r"option own_share \(own_extension.py:\d+\)"):
        check(source)


def test_options_that_a_run_refuses_are_told(check: Callable[..., None]) -> None:
    with pytest.raises(ContractError, match=r"a run is refused: .*own_share"):
        check(DRAWING, own_share=2)


def test_an_extension_that_is_not_installed_is_no_breach_of_contract() -> None:
    with pytest.raises(PluginError, match="no extension named 'moonshine'"):
        check_extension("moonshine")
