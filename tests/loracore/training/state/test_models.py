from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore.cli.request import read_request
from loracore.errors import LoracoreError
from loracore.training.state.models import model_identities
from tests.loracore.training.state.test_resuming import Seen
from tests.resumed_runs import interrupted
from tests.toy_runs import TrainToy

MODEL = "--pretrained_model_name_or_path"  # the toy makes its weights itself: only the state reads these files


def written(path: Path, number: float = 1.0) -> Path:
    """Write a model's file, in which one number in a million differs from others of its kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weight = torch.ones(1000, 1000)
    weight[-1, -1] = number
    save_file({"weight": weight}, path)
    return path


def test_another_model_is_refused_under_the_same_name(train_toy: TrainToy, tmp_path: Path) -> None:
    model = written(tmp_path / "base.safetensors")
    state = interrupted(train_toy, 2, MODEL, str(model))
    written(model, 2.0)
    with pytest.raises(LoracoreError, match=r"base\.safetensors names other weights than .*--network_weights"):
        train_toy(MODEL, str(model), "--resume", str(state))


@pytest.mark.parametrize("inside", [".", "unet"])
def test_the_same_model_may_have_moved(train_toy: TrainToy, tmp_path: Path, inside: str) -> None:
    model = written(tmp_path / "base" / inside / "model.safetensors")
    given = model if inside == "." else tmp_path / "base"
    state = interrupted(train_toy, 2, MODEL, str(given))
    shutil.copytree(tmp_path / "base", tmp_path / "elsewhere", copy_function=shutil.copyfile)
    seen = Seen()
    train_toy(MODEL, str(given).replace("base", "elsewhere"), "--resume", str(state), plugin=seen)
    assert "the very files of the state's run, moved" in seen.note


def test_what_lies_beside_a_models_files_does_not_matter(train_toy: TrainToy, tmp_path: Path) -> None:
    base = tmp_path / "base"
    written(base / "unet" / "model.safetensors")
    (base / "dangling.safetensors").symlink_to(base / "gone.safetensors")
    words = (MODEL, str(base), "--output_dir", str(base / "out"))
    state = interrupted(train_toy, 2, *words)
    written(base / "unet" / "model.fp16.safetensors")
    (base / "readme.txt").write_text("more", encoding="utf-8")
    assert train_toy(*words, "--resume", str(state)).exists()


def test_files_that_were_looked_at_are_not_read_again(toy_config: Path, tmp_path: Path) -> None:
    model = written(tmp_path / "base.safetensors")
    config = read_request([str(toy_config), MODEL, str(model)]).config
    known = model_identities(config)
    model.unlink()
    assert model_identities(config, known) == known != model_identities(config)


def test_a_folder_with_another_file_is_another_model(train_toy: TrainToy, tmp_path: Path) -> None:
    model = written(tmp_path / "base" / "unet" / "model.safetensors")
    state = interrupted(train_toy, 2, MODEL, str(tmp_path / "base"))
    written(model, 2.0)
    with pytest.raises(LoracoreError, match="names other weights"):
        train_toy(MODEL, str(tmp_path / "base"), "--resume", str(state))


def test_a_file_in_the_place_of_its_folder_is_not_compared(train_toy: TrainToy, tmp_path: Path) -> None:
    model, seen = written(tmp_path / "base" / "model.safetensors"), Seen()
    state = interrupted(train_toy, 2, MODEL, str(tmp_path / "base"))
    train_toy(MODEL, str(model), "--resume", str(state), plugin=seen)
    assert "not compared, they are of two kinds" in seen.note


def test_another_revision_of_a_hub_model_is_refused(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cache = tmp_path / "hub" / "models--some--model"
    for revision in ("a" * 40, "b" * 40):
        (cache / "snapshots" / revision).mkdir(parents=True)
        (cache / "snapshots" / revision / "model_index.json").write_text("{}", encoding="utf-8")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    state = interrupted(train_toy, 2, MODEL, "some/model")
    (cache / "refs" / "main").write_text("b" * 40, encoding="utf-8")
    with pytest.raises(LoracoreError, match="is revision bbbbbbbb"):
        train_toy(MODEL, "some/model", "--resume", str(state))
