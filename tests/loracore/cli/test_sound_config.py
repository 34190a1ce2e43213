from __future__ import annotations

from pathlib import Path

import pytest

from loracore.cli.sound_config import sound_config
from loracore.config.config import Config
from loracore.config.options import DataOptions, TrainingOptions
from loracore.errors import Problem


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(*words: str, wrong: tuple[str, ...] = ()) -> Config:
    found = sound_config(words, [Problem("wrong", place) for place in wrong])
    assert found is not None
    return found[0]


def test_what_is_wrong_counts_as_not_given() -> None:
    found = sound("--train_batch_size", "x", "--resolution", "64", "--nonsense", "--seed", "3")
    assert (found[DataOptions].train_batch_size, found[DataOptions].resolution) == (1, "64")
    assert found[TrainingOptions].seed == 3


def test_what_others_find_wrong_does_not_count() -> None:
    found = sound("--resolution", "64", "--seed", "3", wrong=("--seed",))
    assert (found[DataOptions].resolution, found[TrainingOptions].seed) == ("64", None)


def test_a_plugin_that_is_missing_leaves_the_core_s_options(folder: Path) -> None:
    (folder / "run.toml").write_text('arch = "nowhere"\nmax_tokens = 3\nseed = 7', encoding="utf-8")
    assert sound("run.toml", "--network_module", "nothing")[TrainingOptions].seed == 7


def test_the_file_is_given_back_with_its_data_set(folder: Path) -> None:
    (folder / "run.toml").write_text('seed = "x"\n[[datasets]]\n', encoding="utf-8")
    found = sound_config(["run.toml"], [])
    assert found is not None
    assert found[1] is not None
    assert found[1].values["datasets"] == [{}]


def test_of_a_file_that_cannot_be_read_nothing_is_known(folder: Path) -> None:
    (folder / "run.toml").write_text("seed = ", encoding="utf-8")
    assert sound_config(["run.toml"], []) is None
    assert sound_config(["missing.toml"], []) is None
