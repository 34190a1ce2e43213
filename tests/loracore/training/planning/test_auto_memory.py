from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from loracore import ConfigError, ModelOptions, Run, hookimpl
from tests.toy_runs import TrainToy

WIDE = ("--toy_width", "32", "--max_train_steps", "2")


class Heard:
    """Keeps what a run is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.model = ModelOptions()

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.notes = [note for note in run.notes if note.startswith("memory")]
        self.model = run.config[ModelOptions]


def heard(train: TrainToy, *words: str) -> tuple[Heard, Path]:
    told = Heard()
    path = train(*WIDE, *words, plugin=told)
    return told, path


def test_where_there_is_room_everything_is_kept(train_toy: TrainToy) -> None:
    told, _ = heard(train_toy, "--memory", "auto")
    (note,) = told.notes
    assert note.startswith("memory auto: everything kept, nothing is computed twice; 0.00 of ")
    assert not told.model.gradient_checkpointing


def test_as_much_as_needed_is_computed_again_and_nothing_else_changes(train_toy: TrainToy) -> None:
    plain = load_file(heard(train_toy)[1])
    told, path = heard(train_toy, "--memory", "auto", "--memory_budget", "1e-6", "--overwrite")
    assert told.model.gradient_checkpointing
    assert told.notes[0].endswith("which is too much: see `loracore plan`")
    found = load_file(path)
    assert all(found[name].equal(tensor) for name, tensor in plain.items())


def test_a_budget_that_nobody_reads_is_told(train_toy: TrainToy) -> None:
    assert heard(train_toy, "--memory_budget", "1")[0].notes == ["memory_budget is without effect: memory is given"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory", "auto", "--gradient_checkpointing"), "memory = auto decides gradient_checkpointing"),
        (("--memory", "auto", "--blocks_to_swap", "1"), "memory = auto decides blocks_to_swap"),
        (("--memory", "auto", "--checkpointed_blocks", "1"), "memory = auto decides checkpointed_blocks"),
        (("--gradient_checkpointing", "--checkpointed_blocks", "1"), "gradient_checkpointing is for all blocks"),
        (("--checkpointed_blocks", "2"), "has no block 2: it names 2"),
    ],
)
def test_what_contradicts_itself_is_named_at_once(train_toy: TrainToy, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train_toy(*words)
