from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from loracore.config.config import Config
from loracore.config.options import DataOptions, ModelOptions
from loracore.diffusion.files.identity import cache_identity
from loracore.diffusion.options import VaeOptions

Identify = Callable[..., tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Options of an architecture that name files, and one that does not."""

    vae: str | None = None
    t5xxl: str | None = None
    weighting_scheme: str = "uniform"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder in the diffusers layout."""
    folder = tmp_path / "model"
    for part in ("vae", "text_encoder", "text_encoder_2", "tokenizer", "unet"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(part, encoding="utf-8")
    return folder


def identities(model: Path | str, **more: str) -> tuple[str, str]:
    """Return the identities of VAE and text encoders."""
    tables = [ModelOptions(pretrained_model_name_or_path=str(model)), DataOptions(), FileOptions(**more)]
    config = Config(tables, {})
    return cache_identity(part="vae", config=config), cache_identity(part="text", config=config)


def changed(before: tuple[str, str], after: tuple[str, str]) -> tuple[bool, bool]:
    vae, text = (one != other for one, other in zip(before, after, strict=True))
    return vae, text


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("vae", (True, False)),
        ("text_encoder", (False, True)),
        ("text_encoder_2", (False, True)),
        ("tokenizer", (False, True)),
        ("unet", (False, False)),
    ],
)
def test_files_of_a_folder_belong_to_their_part(model: Path, part: str, expected: tuple[bool, bool]) -> None:
    before = identities(model)
    assert identities(model) == before
    (model / part / "config.json").write_text("something longer", encoding="utf-8")
    assert changed(before, identities(model)) == expected


def test_a_file_of_the_same_length_is_known_by_its_time(model: Path) -> None:
    before = identities(model)
    os.utime(model / "vae" / "config.json", (1e9, 1e9))
    assert changed(before, identities(model)) == (True, False)


def test_a_checkpoint_in_one_file_holds_every_part(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    before = identities(file)
    file.write_bytes(b"longer")
    assert changed(before, identities(file)) == (True, True)


def test_configurations_beside_a_checkpoint_count(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    before = identities(file)
    (tmp_path / "model" / "vae").mkdir(parents=True)
    (tmp_path / "model" / "vae" / "config.json").write_text("{}", encoding="utf-8")
    assert changed(before, identities(file)) == (True, False)


def test_files_that_options_name_belong_to_their_part(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"weights")
    file = str(tmp_path / "file.safetensors")
    before = identities(model)
    assert changed(before, identities(model, vae=file)) == (True, False)
    assert changed(before, identities(model, t5xxl=file)) == (False, True)
    assert changed(before, identities(model, weighting_scheme="sigma_sqrt")) == (False, False)


def test_a_copy_that_keeps_times_is_the_same_model(model: Path) -> None:
    before = identities(model)
    assert identities(model.rename(model.with_name("moved"))) == before


def test_models_of_the_hub_are_told_apart_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("loracore.diffusion.files.folders.hub_file", lambda _name, _path: None)
    assert changed(identities("owner/one"), identities("owner/two")) == (True, True)


def test_a_model_of_the_hub_is_known_by_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("loracore.diffusion.files.folders.hub_file", lambda _name, path: Path("snapshots/abc") / path)
    before = identities("owner/one")
    monkeypatch.setattr("loracore.diffusion.files.folders.hub_file", lambda _name, path: Path("snapshots/def") / path)
    assert changed(before, identities("owner/one")) == (True, True)


def test_weights_of_equal_size_and_time_are_told_apart_by_samples(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    found = []
    for fill in (b"a", b"b"):
        file.write_bytes(b"header" + fill * 3_000_000)
        os.utime(file, (0, 0))
        found.append(identities(file))
    assert changed(*found) == (True, True)


def test_a_link_to_other_weights_is_followed(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(name.encode())
        os.utime(tmp_path / name / "weights", (0, 0))
    found = []
    (model / "vae").rename(tmp_path / "old")
    for name in ("one", "two"):
        (model / "vae").unlink(missing_ok=True)
        (model / "vae").symlink_to(tmp_path / name, target_is_directory=True)
        found.append(identities(model))
    assert changed(*found) == (True, False)


def test_texts_that_are_no_paths_and_folders_do_not_count(model: Path, tmp_path: Path) -> None:
    before = identities(model)
    assert identities(model, weighting_scheme="0.5," * 2000) == before
    assert identities(model, t5xxl=str(tmp_path)) == before


def test_the_precision_of_the_vae_counts_where_it_is_not_the_runs(model: Path) -> None:
    def identity(precision: str, *, whole: bool) -> str:
        options = ModelOptions(pretrained_model_name_or_path=str(model), mixed_precision=precision)  # type: ignore[arg-type]  # one of its words
        return cache_identity(part="vae", config=Config([options, VaeOptions(no_half_vae=whole)], {}))

    assert identity("no", whole=True) == identity("no", whole=False)
    assert identity("fp16", whole=True) != identity("fp16", whole=False)
