from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loracore.config.config import Config
from loracore.config.options import HubOptions, StateOptions, TrainingOptions
from loracore.defaults.findings.state_findings import state_findings
from loracore.training.state.names import aside


def fates(training: dict[str, Any], state: dict[str, Any]) -> dict[str, str]:
    places = {name: f"--{name}" for name in (*training, *state)}
    config = Config([TrainingOptions(**training), StateOptions(**state), HubOptions()], places)
    return {finding.option: finding.fate for finding in state_findings(config)}


def test_sound_options_are_fine() -> None:
    assert fates({"initial_step": 3}, {"save_state": True, "save_last_n_steps_state": 4}) == {}
    assert fates({}, {"resume": "latest", "save_state_on_train_end": True}) == {}


@pytest.mark.parametrize("name", ["initial_step", "initial_epoch"])
def test_a_resumed_run_begins_behind_its_state_and_nowhere_else(name: str) -> None:
    assert fates({name: 2}, {"resume": "latest"}) == {name: "wrong"}


def test_a_run_begins_at_one_place() -> None:
    assert fates({"initial_step": 4, "initial_epoch": 2}, {}) == {"initial_epoch": "wrong"}


def test_nothing_needs_to_be_skipped() -> None:
    assert fates({"skip_until_initial_step": True}, {}) == {"skip_until_initial_step": "without effect"}


@pytest.mark.parametrize("name", ["save_last_n_epochs_state", "save_last_n_steps_state"])
def test_states_that_are_not_saved_are_not_removed(name: str) -> None:
    assert fates({}, {name: 2}) == {name: "without effect"}


def test_one_state_at_the_end_is_enough() -> None:
    both = {"save_state": True, "save_state_on_train_end": True}
    assert fates({}, both) == {"save_state_on_train_end": "without effect"}


def test_a_state_must_be_there_or_stepping_aside(tmp_path: Path) -> None:
    state = tmp_path / "a-state"
    assert fates({}, {"resume": str(state)}) == {"resume": "wrong"}
    aside(state).mkdir()
    assert fates({}, {"resume": str(state)}) == {}
