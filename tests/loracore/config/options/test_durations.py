from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore.config.checking import Checked, check
from loracore.config.declared import declare
from loracore.config.flags import read_flags
from loracore.config.given import Given
from loracore.config.options import CORE_OPTIONS, TrainingOptions

DECLARED = declare([("core", CORE_OPTIONS)])
PARSED = json.loads((Path(__file__).parents[3] / "data" / "training.json").read_text(encoding="utf-8"))[
    "lr_warmup_steps_parsing"
]["values"]
#: A share above 1, and steps below 0, mean nothing: they are refused here.
STRICTER = ("150%", "-5")


def on_the_command_line(name: str, text: str) -> Checked:
    return check([read_flags([f"--{name}={text}"], DECLARED.options).given], DECLARED)


@pytest.mark.parametrize("name", ["lr_warmup_steps", "lr_decay_steps"])
@pytest.mark.parametrize("text", PARSED)
def test_flags_are_read_as_in_the_field(name: str, text: str) -> None:
    found = on_the_command_line(name, text)
    if "error" in PARSED[text] or text in STRICTER:
        assert len(found.problems) == 1
        return
    assert found.config is not None
    assert getattr(found.config[TrainingOptions], name) == PARSED[text]["value"]


@pytest.mark.parametrize(
    ("raw", "value"), [(10, 10), (10.0, 10), (0.5, 0.5), (1.0, 1.0), (1, 1), ("10%", 0.1), ("100%", 1.0), ("20", 20)]
)
def test_files_may_hold_steps_shares_and_percentages(raw: Any, value: float) -> None:
    found = check([[Given("lr_warmup_steps", raw, "a.toml:1")]], DECLARED)
    assert found.config is not None
    warmup = found.config[TrainingOptions].lr_warmup_steps
    assert (warmup, type(warmup)) == (value, type(value))


@pytest.mark.parametrize("raw", [1.5, "1.5", "110%", True, "ten", [1]])
def test_what_is_no_part_of_a_run_is_refused_with_its_place(raw: Any) -> None:
    (problem,) = check([[Given("lr_warmup_steps", raw, "a.toml:1")]], DECLARED).problems
    assert problem.where == "a.toml:1"
    assert problem.message.startswith("lr_warmup_steps: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reduce_lr_on_plateau", "follows a measure"),
        ("cosine_warmup_with_min_lr", "write cosine_with_min_lr"),
        ("adafactor:1e-4", "chooses this course by itself"),
    ],
)
def test_courses_that_no_run_can_have_are_refused_with_the_reason(name: str, words: str) -> None:
    (problem,) = on_the_command_line("lr_scheduler", name).problems
    assert words in problem.message
