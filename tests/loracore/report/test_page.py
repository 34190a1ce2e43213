from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from loracore.report.writing import write_report
from tests.loracore.report.browser import look
from tests.loracore.report.told_runs import SCRIPT, event, started, step, whole_run, write_events

pytestmark = pytest.mark.timeout(150)  # a browser starts slowly where many tests run at once


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The page of a run with everything in it."""
    return write_report(write_events(tmp_path / "fish-log" / "events.jsonl", whole_run(tmp_path / "sample")))


@pytest.mark.parametrize("width", [600, 1600])
def test_a_browser_draws_the_page_and_complains_of_nothing(report: Path, tmp_path: Path, width: int) -> None:
    found = look(report, width, tmp_path / "profile")
    assert found["wrong"] == []
    assert found["loaded"] == []
    assert found["title"] == "Training of fish"
    assert len(found["lengths"]) == 7  # loss twice, two rates, validation, two timesteps
    assert all(length > 100 for length in found["lengths"])
    assert all(wide > 100 for wide, _ in found["curves"])
    assert len(found["pictures"]) == 10
    assert all(complete and natural > 0 and alt for complete, natural, alt, *_ in found["pictures"])
    assert all(wide > 100 and high > 100 for *_, wide, high in found["pictures"])
    assert found["reading"].startswith("step 50")
    assert found["width"] <= found["window"]  # nothing but the grid of previews scrolls sideways, and that in itself
    assert found["small"] == 0


def test_the_page_is_read_in_a_narrow_window(report: Path, tmp_path: Path) -> None:
    framed = report.with_name("framed.html")  # a browser's own windows are not narrower than some 500 pixels
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    inside = policy.sub("", report.read_text("utf-8")).replace("<html", '<html style="width:400px"', 1)
    framed.write_text(inside.replace("<body>", '<body style="max-width:400px">', 1), encoding="utf-8")
    found = look(framed, 500, tmp_path / "profile")
    assert found["wrong"] == []
    assert all(wide <= 400 for wide, _ in found["curves"])
    for labels in found["labels"]:
        assert all(left < right for left, right in labels)  # none is left out, the last least of all
        assert all(right < left for (_, right), (left, _) in pairwise(labels))
    assert found["width"] <= found["window"]


def test_captions_and_prompts_stay_text(report: Path) -> None:
    text = report.read_text("utf-8")
    assert SCRIPT not in text
    assert "&lt;script&gt;document.title" in text


def test_tables_have_heads_and_pictures_have_words(report: Path) -> None:
    text = report.read_text("utf-8")
    assert text.count('scope="col"') >= 5 + 4 + 2
    assert text.count("<img ") == text.count(' alt="a striped fish')
    assert '<html lang="en">' in text
    assert 'role="img" aria-label="Loss. loss of each step: steps 1 to 1000' in text


def test_what_was_given_stands_before_the_defaults(report: Path) -> None:
    text = report.read_text("utf-8")
    assert text.index("learning_rate") < text.index("<details>") < text.index("network_dim")


def test_a_run_without_a_single_step_has_a_page(tmp_path: Path) -> None:
    path = write_report(write_events(tmp_path / "x-log" / "events.jsonl", [started()]))
    assert "not yet, or killed" in path.read_text("utf-8")


def test_a_loss_that_is_never_finite_has_a_page(tmp_path: Path) -> None:
    bad = [{**step(number), "loss": None, "average": None} for number in range(1, 4)]
    path = write_report(write_events(tmp_path / "x-log" / "events.jsonl", [started(), *bad]))
    assert "Learning rate" in path.read_text("utf-8")


def test_many_steps_and_many_previews_make_no_giant_page(tmp_path: Path) -> None:
    events = [started(steps=60_000), *(step(number) for number in range(1, 60_001))]
    short = write_report(write_events(tmp_path / "a-log" / "events.jsonl", events)).stat().st_size
    assert short < 200_000
    missing = [
        event("preview", number, path="gone.png", prompt="fish", index=0, seed=1, scope="step") for number in range(100)
    ]
    text = write_report(write_events(tmp_path / "b-log" / "events.jsonl", [started(), *missing])).read_text("utf-8")
    assert "16 of 100 steps are shown" in text
    assert text.count("gone.png is missing") == 16
