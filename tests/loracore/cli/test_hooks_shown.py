"""``loracore plugins --hooks``: for one run, hook by hook, who answers in which order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.loracore.cli.conftest import Answer, Call
from tests.loracore.conftest import PLUGIN, Install

pytestmark = pytest.mark.usefixtures("toys")

SEVERAL = """
@hookimpl(wrapper=True)
def loss_weighting(): return (yield)

@hookimpl
def draw_noise(): return "mine"
"""
TOYS = ("--arch", "toy", "--network_module", "toynet")


@pytest.fixture
def hooks(loracore: Call, install: Install) -> Call:
    """Give a function that shows the hooks of a run of the toys with an extension."""
    install("ext", "extension", "ext", PLUGIN + SEVERAL)
    return lambda *words: loracore("plugins", "--hooks", *TOYS, "--extensions", "ext", *words)


def section(answer: Answer, hook: str) -> list[str]:
    """Return the lines beneath a hook, without the places' folders."""
    lines = answer.out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{hook}  ("))
    found = []
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        found.append(re.sub(r"  \S*[/\\]", "  ", line.strip()))
    return found


def test_a_wrapper_is_asked_first_and_marked(hooks: Call) -> None:
    wrapper, default = section(hooks(), "loss_weighting")
    assert wrapper == "extension ext (ext 1.5), wraps  ext_ext_module.py:7"
    assert re.fullmatch(r"core  answers\.py:\d+", default)


def test_who_stands_behind_the_answer_that_counts_is_not_asked(hooks: Call) -> None:
    first, second = section(hooks(), "draw_noise")
    assert first.startswith("extension ext (ext 1.5)  ")
    assert second.startswith("core, not asked  ")


def test_everybody_is_asked_for_a_hook_that_is_collected(hooks: Call) -> None:
    asked = [line.partition(" (")[0] for line in section(hooks(), "options")]
    assert asked == ["network toynet", "architecture toy"]


def test_hooks_stand_in_the_order_of_a_run(hooks: Call) -> None:
    named = [line.partition("  (")[0] for line in hooks().out.splitlines() if re.match(r"\w+  \(", line)]
    wanted = ["options", "check_options", "load_models", "encode_text", "lora_targets", "build_adapter", "draw_noise"]
    assert [name for name in named if name in wanted] == wanted


def test_hooks_that_the_core_alone_answers_and_those_that_nobody_answers_are_named(hooks: Call) -> None:
    *_, by_core, by_nobody = hooks().out.splitlines()
    assert by_core.startswith("by the core alone: cache_identity")
    assert "prepare_batch, draw_timesteps" in by_core
    assert by_nobody == "by nobody: check_models"


def test_json_has_the_same(hooks: Call) -> None:
    found = {each["hook"]: each for each in json.loads(hooks("--json").out)}
    weighting = found["loss_weighting"]
    assert (weighting["first_counts"], weighting["by_default_alone"]) == (True, False)
    assert [(each["plugin"], each["origin"], each["part"]) for each in weighting["answerers"]] == [
        ("extension ext", "ext 1.5", "wraps"),
        ("core", "loracore", "answers"),
    ]
    assert found["draw_timesteps"]["by_default_alone"] is True


def test_a_run_is_read_from_a_configuration_file_like_any_other(loracore: Call, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('arch = "toy"\nnetwork_module = "toynet"\nlearning_rat = 1\n', encoding="utf-8")
    assert "learning_rate" in loracore("plugins", "--hooks", str(config)).err
    config.write_text('arch = "toy"\nnetwork_module = "toynet"\n', encoding="utf-8")
    assert "architecture toy" in loracore("plugins", "--hooks", str(config)).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--hooks",), "the architecture of the base model is missing"),
        (("--hoks",), "did you mean '--hooks'"),
        (("--arch", "toy"), "only --hooks takes the words of a run"),
        (("--hooks", "--check"), "do not go together"),
    ],
)
def test_words_that_mean_nothing_are_errors(loracore: Call, words: tuple[str, ...], said: str) -> None:
    answer = loracore("plugins", *words)
    assert answer.code == 2
    assert said in answer.err
