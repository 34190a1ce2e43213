"""What is said of a base model's files before anything is loaded; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from loracore.config.config import Config, Finding
from loracore.config.options import ModelOptions
from loracore.diffusion.files.folders import LocalFolder, ModelFolder, given_path, looks_like_hub_id
from loracore.diffusion.options import VaeOptions, vae_findings
from loracore.errors import DataError
from loracore.weights.headers import is_pickle


class Recognition(Protocol):
    """An architecture's module that knows its own files, from their headers."""

    def check_file(self, path: Path, *, allow_pickle: bool) -> None:
        """Raise DataError for a checkpoint that is damaged or of another architecture."""

    def check_folder(self, folder: ModelFolder) -> None:
        """Raise DataError for a folder that is damaged or of another architecture."""


def model_findings(config: Config, recognition: Recognition) -> Iterator[Finding]:
    """Give what is wrong with ``pretrained_model_name_or_path``; nothing when it is not given."""
    given = config[ModelOptions].pretrained_model_name_or_path
    if given is None:
        return
    path, place = given_path(given), "pretrained_model_name_or_path"
    try:
        if path.is_file():
            recognition.check_file(path, allow_pickle=config[ModelOptions].allow_pickle)
        elif path.is_dir():
            recognition.check_folder(LocalFolder(path))
    except DataError as error:
        for problem in error.problems:
            message = f"{problem.where}: {problem.message}" if problem.where else problem.message
            yield Finding("wrong", place, message, problem.fix)
        return
    if not path.exists() and not looks_like_hub_id(given):
        fix = "give a .safetensors checkpoint, a folder in the diffusers layout, or a hub id owner/name"
        yield Finding("wrong", place, f"no such file or folder: {given}", fix)


def file_findings(config: Config, files: Mapping[str, str | None]) -> Iterator[Finding]:
    """Give what is wrong with files of single parts, by option: absent ones, and one file given twice.

    The VAE of ``VaeOptions`` is looked at too, and how it computes; it may be a folder or on the hub.
    """
    yield from vae_findings(config)
    owners: dict[Path, str] = {}
    for name, given in {**files, "vae": config[VaeOptions].vae}.items():
        if given is None or (name == "vae" and _may_be_folder(given)):
            continue
        path = given_path(given)
        if not path.is_file():
            fix = "give a .safetensors file, or a folder or hub id" if name == "vae" else "give a .safetensors file"
            yield Finding("wrong", name, f"{name}: no such file: {given}", fix)
            continue
        first = owners.setdefault(path.resolve(), name)
        if first != name:
            message = f"{name} and {first} name the same file: {config.place(first)}"
            yield Finding("wrong", name, message, "give each its own file")


def _may_be_folder(given: str) -> bool:
    """Tell whether a text names a folder, or may be an id on the hub: then it has no ending of weight files."""
    path = given_path(given)
    return path.is_dir() or (looks_like_hub_id(given) and path.suffix != ".safetensors" and not is_pickle(path))
