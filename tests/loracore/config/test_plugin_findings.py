"""Plugins are asked about their options once before the data sets are known, and once after."""

from __future__ import annotations

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


@pytest.fixture
def hook() -> pluggy.HookRelay:
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(specs)
    manager.register(SimpleNamespace(check_options=check_options))
    return manager.hook


def test_before_the_data_sets_only_options_are_told(hook: pluggy.HookRelay) -> None:
    assert plugin_findings(hook, CONFIG) == ((), ("a.toml:3: idle",))


def test_data_sets_add_what_was_not_said(hook: pluggy.HookRelay) -> None:
    said = plugin_findings(hook, CONFIG)[1]
    problems, notes = dataset_findings(hook, CONFIG.with_datasets(SETS), said)
    assert [str(problem) for problem in problems] == ["data.toml:1: odd"]
    assert notes == ("--sets: few",)
