from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from loracore import ConfigError, LoracoreError, SavingOptions
from loracore.training.results.outputs import LOCK_NAME, ResultFiles, guarded, result_files


def test_file_names_are_the_fields(data: Path, tmp_path: Path) -> None:
    golden = json.loads((data / "training.json").read_text(encoding="utf-8"))["file_names"]
    for name, key in ((None, "no_name"), ("my", "named")):
        files = ResultFiles(tmp_path, name, ".safetensors")
        found = {"epoch3": files.epoch(3).name, "step250": files.step(250).name, "last": files.final.name}
        assert found.items() <= golden[key].items()


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "out", "my", ".safetensors")
    with guarded(files, overwrite=False):
        with pytest.raises(LoracoreError, match="another run"), guarded(files, overwrite=False):
            pass
        assert (files.folder / LOCK_NAME).exists()
    assert not (files.folder / LOCK_NAME).exists()


def test_every_existing_result_is_named(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path, "my", ".safetensors")
    for path in (files.final, files.epoch(1), files.step(20)):
        path.touch()
    (tmp_path / "my-other.safetensors").touch()
    with pytest.raises(LoracoreError) as caught, guarded(files, overwrite=False):
        pass
    assert len(caught.value.problems) == 3
    with guarded(files, overwrite=True):
        pass


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    files = ResultFiles(tmp_path / "out", "my", ".safetensors")
    with pytest.raises(LoracoreError, match="cannot be written"), guarded(files, overwrite=False):
        pass


def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        (tmp_path / "probe").touch()
    except PermissionError:
        pass
    else:
        pytest.skip("this user may write everywhere")
    with (
        pytest.raises(LoracoreError, match="cannot be written"),
        guarded(ResultFiles(tmp_path, "my", ".x"), overwrite=False),
    ):
        pass


def test_results_need_a_folder() -> None:
    with pytest.raises(ConfigError, match="no folder"):
        result_files(SavingOptions())


def test_results_of_longer_names_are_other_peoples(tmp_path: Path) -> None:
    for name in ("cat-2.safetensors", "cat-000001x.safetensors", "cat-stepdown.safetensors"):
        (tmp_path / name).touch()
    assert ResultFiles(tmp_path, "cat", ".safetensors").existing() == []


def test_signs_of_patterns_in_a_name_mean_themselves(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path, "my[v1]", ".safetensors")
    files.epoch(1).touch()
    assert files.existing() == [files.epoch(1)]


def test_a_folder_made_for_nothing_is_taken_away(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "new", "my", ".safetensors")
    with guarded(files, overwrite=False):
        assert files.folder.exists()
    assert not files.folder.exists()


def test_states_and_best_files_are_results_too(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path, "my", ".safetensors")
    (tmp_path / "my-step00000003-state").mkdir()
    files.best(4).touch()
    assert files.existing() == [files.best(4), tmp_path / "my-step00000003-state"]
