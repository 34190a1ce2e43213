"""Plugins are asked about their options once before the data sets are known, and once after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pluggy
import pytest

from loracore import Finding, PluginError, hookimpl, option
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


def hook_of(check: Callable[[Config], Any]) -> pluggy.HookRelay:
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

    v: Annotated[bool, option("v")] = False
    scaled: Annotated[bool, option("scaled")] = False
    rate: Annotated[float, option("rate", gt=0)] = 1.0


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


def answering(answer: Any) -> pluggy.HookRelay:
    """Return a hook that is answered with what stands here, or with what it makes of the config."""

    @hookimpl
    def check_options(config: Config) -> Any:
        return answer(config) if callable(answer) else answer

    return hook_of(check_options)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Finding("wrong", "v", "no"), r"gives one Finding, and no list .*'check_options' \(return a list: "),
        ("no v", r"gives str, and no list"),
        (["no v"], r"gives str 'no v', which is no Finding"),
        ([Finding("bad", "v", "no")], r"of the fate 'bad'"),  # type: ignore[arg-type]  # wrong on purpose
        (
            [Finding("implied", "scald", "x", value=True)],
            r"'scald', which this run has not.*\(did you mean 'scaled'\?\)",
        ),
        ([Finding("implied", "rate", "x", value="fast")], r"implies 'fast' for 'rate'.*must be a number, above 0"),
        ([Finding("implied", "rate", "x", value=-1.0)], r"implies -1\.0 for 'rate'"),
        ([Finding("implied", "v", "x", value=None)], r"implies None for 'v'"),
    ],
)
def test_what_is_no_finding_is_an_error_with_place_and_cure(answer: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said) as caught:
        plugin_findings(answering(answer), Config([Steps()], {}))
    assert "test_plugin_findings.py:" in caught.value.problems[0].where


def test_an_implied_value_is_read_as_its_option_reads_it() -> None:
    judged = plugin_findings(answering([Finding("implied", "rate", "x", value="2")]), Config([Steps()], {}))
    assert judged.config[Steps].rate == 2.0


def test_an_implied_value_that_depends_on_itself_is_an_error() -> None:
    def halved(config: Config) -> list[Finding]:
        return [Finding("implied", "rate", "half of it", value=config[Steps].rate / 2)]

    with pytest.raises(PluginError, match="implies another value of 'rate' whenever it is asked"):
        plugin_findings(answering(halved), Config([Steps()], {}))
