"""What tells one base model's parts from another's, for caches on disk; no torch, and no weights are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import CORE_OPTIONS, ModelOptions
from loracore.diffusion.folders import HubFolder, given_path, open_folder
from loracore.hookspecs import hookimpl
from loracore.types import Part

#: Sub-folders of the diffusers layout by what they begin with: of the VAE, and of everything that reads captions.
_VAE, _TEXT = ("vae",), ("text_encoder", "tokenizer")


@hookimpl
def cache_identity(part: Part, config: Config) -> str:
    """Return a digest of the part's files: sizes and times of change, of a model on the hub its revision.

    The files are those of the base model and those that options of the architecture name: the one called ``vae`` is the
    VAE's, all others are the text encoders'. A file that was copied without its time counts as another one: encoding
    again costs time, a stale cache costs the training.
    """
    known = list(_base_model(config[ModelOptions].pretrained_model_name_or_path or "", part))
    core = {field.name for table in CORE_OPTIONS for field in fields(table)}
    for name, value in config:
        if name not in core and isinstance(value, str) and value and (name == "vae") == (part == "vae"):
            path = given_path(value)
            known += [name, *(_stat(file) for file in _files(path, ()))] if _exists(path) else []
    return hashlib.blake2b(json.dumps(known).encode("utf-8"), digest_size=16).hexdigest()


def _base_model(given: str, part: Part) -> Iterator[object]:
    path, begins = given_path(given), _VAE if part == "vae" else _TEXT
    if path.is_file():
        yield _stat(path)
        yield from (_stat(file) for file in _files(path.with_suffix(""), begins))  # configurations beside it
        return
    folder = open_folder(given)
    if isinstance(folder, HubFolder):
        index = folder.find("model_index.json")
        yield from (folder.name, None if index is None else index.parent.name)  # files lie in a folder a revision
        return
    yield from (_stat(file) for file in _files(path, begins))


def _files(path: Path, begins: tuple[str, ...]) -> list[Path]:
    """Return a file itself, or the files of those sub-folders whose names begin so; none named: of all."""
    if path.is_file():
        return [path]
    every = sorted(file for file in path.rglob("*") if file.is_file())
    return [file for file in every if not begins or file.relative_to(path).parts[0].startswith(begins)]


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path's own raises for a text that is too long for a name


def _stat(file: Path) -> tuple[str, int, int]:
    stat = file.stat()
    return file.name, stat.st_size, stat.st_mtime_ns
