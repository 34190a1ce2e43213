from __future__ import annotations

from pathlib import Path

from loracore.config.dataset_folders import folder_subsets
from loracore.config.datasets import read_datasets
from tests.loracore.config.data_files import config_of, golden


def test_golden_folder_names_pass_through_the_whole_reader(tmp_path: Path) -> None:
    for case in golden("folder_names"):
        (tmp_path / case["folder"]).mkdir()
    (dataset,) = read_datasets(config_of(train_data_dir=str(tmp_path), resolution="512"), None)
    found = {subset.source.name: (subset.num_repeats, subset.class_tokens) for subset in dataset.subsets}
    used = [case for case in golden("folder_names") if case["used"]]
    assert found == {case["folder"]: (case["num_repeats"], case["class_tokens"]) for case in used}
    assert list(found) == sorted(found)


def test_what_stands_beside_named_folders_is_a_warning(tmp_path: Path) -> None:
    for name in ("5_dog", "other", "0_cat"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.png").touch()
    assert [warning.partition(": ")[2] for warning in folder_subsets(tmp_path).warnings] == [
        "sub-folders without N_ (1 or more) before their name are not used: 0_cat, other",
        "files beside the sub-folders 5_dog are not used",
    ]


def test_a_folder_without_named_folders_is_one_subset(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "metadata_cache.json").write_text("{}", "utf-8")
    found = folder_subsets(tmp_path)
    assert (found.subsets, found.warnings) == (({"image_dir": str(tmp_path)},), ())


def test_a_missing_folder_is_left_for_the_scan(tmp_path: Path) -> None:
    assert folder_subsets(tmp_path / "gone").subsets == ({"image_dir": str(tmp_path / "gone")},)
