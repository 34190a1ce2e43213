"""Plugins are asked about their options once before the data sets are known, and once after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pluggy
import pytest

from loracore import Finding, hookimpl
from loracore import hookspecs as specs
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.plugin_findings import dataset_findings, plugin_findings

SETS = [DatasetSpec((64, 64), 1, False, 256, 1024, 64, False, ())]
CONFIG = Config([], {"rank": "a.toml:3"})


@hookimpl
def check_options(config: Config) -> list[Finding]:
    found = [Finding("without effect", "rank", "idle")]
    if config.datasets:
        found += [Finding("unsupported", "sizes", "odd", where="data.toml:1"), Finding("without effect", "sets", "few")]
    return found


def hook_of(check: Callable[[Config], list[Finding]]) -> pluggy.HookRelay:
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(specs)
    manager.register(SimpleNamespace(check_options=check))
    return manager.hook


@pytest.fixture
def hook() -> pluggy.HookRelay:
    return hook_of(check_options)


@dataclass(frozen=True, slots=True)
class Steps:
    """Options of which one implies the other."""

    v: bool = False
    scaled: bool = False


@hookimpl
def implying(config: Config) -> list[Finding]:
    steps = config[Steps]
    found = [] if steps.v else [Finding("implied", "v", "v is on: the model says so", where="model", value=True)]
    return [*found, Finding("wrong", "scaled", "without v")] if steps.scaled and not steps.v else found


def test_before_the_data_sets_only_options_are_told(hook: pluggy.HookRelay) -> None:
    judged = plugin_findings(hook, CONFIG)
    assert (judged.config, judged.problems, judged.notes) == (CONFIG, (), ("a.toml:3: idle",))


def test_data_sets_add_what_was_not_said(hook: pluggy.HookRelay) -> None:
    said = plugin_findings(hook, CONFIG).notes
    problems, notes = dataset_findings(hook, CONFIG.with_datasets(SETS), said)
    assert [str(problem) for problem in problems] == ["data.toml:1: odd"]
    assert notes == ("--sets: few",)


def test_an_implied_value_reaches_the_config_and_is_told() -> None:
    judged = plugin_findings(hook_of(implying), Config([Steps()], {}))
    assert judged.config[Steps] == Steps(v=True)
    assert judged.notes == ("model: v is on: the model says so",)
    assert not judged.config.given("v")


def test_options_are_judged_with_the_implied_values() -> None:
    judged = plugin_findings(hook_of(implying), Config([Steps(scaled=True)], {}))
    assert judged.problems == ()


def test_what_was_implied_is_not_said_again_with_the_data_sets() -> None:
    hook = hook_of(implying)
    judged = plugin_findings(hook, Config([Steps()], {}))
    assert dataset_findings(hook, judged.config.with_datasets(SETS), judged.notes) == ((), ())
