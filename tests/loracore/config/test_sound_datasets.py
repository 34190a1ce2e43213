from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.datasets import read_datasets
from loracore.config.sound_datasets import SoundDatasets, sound_datasets
from tests.loracore.config.data_files import config_of, one


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(text: str, **options: object) -> SoundDatasets:
    Path("data.toml").write_text(text, "utf-8")
    return sound_datasets(config_of(dataset_config="data.toml", **options), None)


def test_without_mistakes_they_are_those_of_the_run() -> None:
    found = sound(one("resolution = 512\nenable_bucket = true\nmax_bucket_reso = 1000", "num_repeats = 3"))
    assert found.datasets == read_datasets(config_of(dataset_config="data.toml"), None)
    assert (len(found.datasets[0].warnings), found.left) == (1, ())


def test_wrong_keys_count_as_not_given() -> None:
    text = one("resolution = 512\nbatch_size = 'x'", "num_repeat = 3\nnum_repeats = 'many'", "keep_token = 1")
    (dataset,) = sound(text, train_batch_size=4, dataset_repeats=5).datasets
    assert (dataset.batch_size, dataset.subsets[0].num_repeats) == (4, 5)


def test_a_subset_without_pictures_is_left_out() -> None:
    (dataset,) = sound(one() + "[[datasets.subsets]]\nnum_repeats = 2").datasets
    assert [str(subset.source) for subset in dataset.subsets] == ["pics"]


def test_data_sets_of_which_too_little_is_known_are_named() -> None:
    found = sound("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\n[[datasets]]\nresolution = 512\n")
    assert (found.datasets, found.left) == ((), ("data.toml:1", "data.toml:4"))


def test_contradictions_do_not_matter() -> None:
    lists = "metadata_file = 'list.json'\nvalidation_split = 0.5"
    (dataset,) = sound(one() + f"[[datasets.subsets]]\nimage_dir = 'more'\n{lists}").datasets
    assert len(dataset.subsets) == 2


@pytest.mark.parametrize("text", ["", "general = 1", "datasets = 1", "[[datasets", "datasets = [1, {subsets = 2}]"])
def test_nothing_is_raised(text: str) -> None:
    assert sound(text).datasets == ()


def test_without_a_data_set_there_is_none() -> None:
    assert sound_datasets(config_of(), None) == SoundDatasets((), ())
