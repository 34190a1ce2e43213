"""docs/events.md names every kind of event that is told, and every value that a run writes."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from loracore import hookimpl
from loracore.training.run import Run
from tests.toy_runs import TrainToy

ROOT = Path(__file__).parents[2]
#: Values that only some runs write.
SOMETIMES = {"step": {"d_lr", "keys_scaled", "average_key_norm", "max_key_norm"}}


def documented() -> dict[str, set[str]]:
    """Return the values that the page names, by the kind of event."""
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    plain = [(kind, re.sub(r"\([^()]*\)", "", words).partition(";")) for kind, words in rows]
    named = {kind: set(re.findall(r"`(\w+)`", first + rest)) for kind, (first, _, rest) in plain}
    return {kind: values - {"step", "scale_weight_norms"} for kind, values in named.items()}


class Notes:
    """Tells what only goes wrong elsewhere."""

    @hookimpl
    def step_done(self, run: Run, step: int) -> None:
        if step == 1:
            run.tell("note", step, text="by the way")


@pytest.fixture
def written(train_toy: TrainToy, tmp_path: Path) -> dict[str, set[str]]:
    """The values that a real run writes, by the kind of event."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a fish --w 64 --h 64 --s 2\n", encoding="utf-8")
    shown = ("--sample_prompts", str(prompts), "--sample_every_n_steps", "2")
    checked = ("--validation_split", "0.2", "--validate_every_n_steps", "2", "--scale_weight_norms", "1")
    folder = train_toy(*shown, *checked, "--save_every_n_steps", "2", plugin=Notes()).parent / "toy-log"
    found: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "events.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        found[event["kind"]] |= event.keys() - {"time", "kind", "step"}
    return found


def test_a_real_run_writes_what_the_page_says(written: dict[str, set[str]]) -> None:
    page = documented()
    assert {"started", "step", "epoch", "validation", "saved", "preview", "note", "finished"} <= written.keys()
    assert {kind: values - page[kind] for kind, values in written.items() if values - page[kind]} == {}
    lacking = {kind: page[kind] - values - SOMETIMES.get(kind, set()) for kind, values in written.items()}
    assert {kind: values for kind, values in lacking.items() if values} == {}


def test_every_kind_that_is_told_stands_on_the_page() -> None:
    told = {
        node.args[0].value
        for path in (ROOT / "loracore").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "tell"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"started", "step", "skipped", "save_failed"} <= told
    assert told <= documented().keys()
