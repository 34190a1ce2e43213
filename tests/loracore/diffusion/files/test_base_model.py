from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.config import Config, Finding
from loracore.config.options import ModelOptions
from loracore.diffusion.files.base_model import file_findings, model_findings
from loracore.diffusion.files.folders import ModelFolder
from loracore.diffusion.options import VaeOptions
from loracore.errors import DataError


class Pickiness:
    """Knows every file and folder as something else."""

    def check_file(self, path: Path, *, allow_pickle: bool) -> None:
        raise DataError(f"pickle allowed: {allow_pickle}", where=str(path), fix="take another")

    def check_folder(self, folder: ModelFolder) -> None:
        raise DataError("a folder", where=folder.name)


def told(given: str | None, *, allow_pickle: bool = False) -> list[Finding]:
    options = ModelOptions(pretrained_model_name_or_path=given, allow_pickle=allow_pickle)
    return list(model_findings(Config([options], {}), Pickiness()))


def test_what_recognition_says_is_told_with_place_and_cure(tmp_path: Path) -> None:
    file = tmp_path / "model.ckpt"
    file.touch()
    (of_file,), (of_folder,) = told(str(file), allow_pickle=True), told(str(tmp_path))
    assert (of_file.message, of_file.fix) == (f"{file}: pickle allowed: True", "take another")
    assert of_folder.message == f"{tmp_path}: a folder"


@pytest.mark.parametrize(("given", "count"), [(None, 0), ("owner/name", 0), ("./nowhere/model.safetensors", 1)])
def test_only_what_can_be_no_model_at_all_is_missing(given: str | None, count: int) -> None:
    assert len(told(given)) == count


def test_each_absent_file_and_each_second_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    one, config = str(tmp_path / "one"), Config([VaeOptions()], {"first": "run.toml:3"})
    found = list(file_findings(config, {"first": one, "second": one, "third": "nowhere", "fourth": None}))
    assert [finding.option for finding in found] == ["second", "third"]
    assert "run.toml:3" in found[0].message


@pytest.mark.parametrize(("vae", "count"), [("owner/name", 0), (".", 0), ("no/vae.safetensors", 1), ("no/vae.pt", 1)])
def test_a_vae_may_be_a_folder_or_on_the_hub(vae: str, count: int) -> None:
    assert len(list(file_findings(Config([VaeOptions(vae=vae)], {}), {}))) == count
