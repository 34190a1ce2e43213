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
from loracore.diffusion.files.folders import HubFolder, given_path, looks_like_hub_id, open_folder
from loracore.diffusion.options import VaeOptions, upcasts_vae
from loracore.hookspecs import hookimpl
from loracore.types import Part

#: Sub-folders of the diffusers layout by what they begin with: of the VAE, and of everything that reads captions.
_VAE, _TEXT = ("vae",), ("text_encoder", "tokenizer")
_BLOCK, _BLOCKS = 4096, 256  # bytes of a sample, samples of a file: a megabyte of it is read


@hookimpl
def cache_identity(part: Part, config: Config) -> str:
    """Return a digest of the part's files: name, size, time of change and samples of each; on the hub, the revision.

    The files are those of the base model and those that options of the architecture name: the one called ``vae``, which
    may be a folder or an id on the hub, is the VAE's, all others are the text encoders'. A file that was copied without
    its time counts as another one: encoding again costs time, a stale cache costs the training. Samples tell weights
    apart whose sizes and times are equal, as in images and archives with times set to zero. A VAE that computes in
    float32 in a run of half precision is another one, too.
    """
    known = list(_base_model(config[ModelOptions].pretrained_model_name_or_path or "", part))
    if part == "vae" and VaeOptions in config and upcasts_vae(config):
        known.append("float32")
    core = {field.name for table in CORE_OPTIONS for field in fields(table)}
    for name, value in config:
        if name not in core and isinstance(value, str) and value and (name == "vae") == (part == "vae"):
            found = list(_named(value, part))
            known += [name, *found] if found else []
    return hashlib.blake2b(json.dumps(known).encode("utf-8"), digest_size=16).hexdigest()


def _named(value: str, part: Part) -> Iterator[object]:
    """Give what is known of a file that an option names; a VAE may lie in a folder, at its root or deeper."""
    path = given_path(value)
    if os.path.isfile(path):  # noqa: PTH113  # Path's own raises for long texts
        yield _known(path)
    elif part == "vae" and path.is_dir():
        own = sorted(file for file in path.iterdir() if file.is_file())
        yield from (_known(file) for file in (*own, *_files(path, _VAE)))
    elif part == "vae" and looks_like_hub_id(value):
        for config in ("config.json", "vae/config.json"):
            file = HubFolder(value).find(config)
            if file is not None:
                yield from (value, file.parents[config.count("/")].name)  # files lie in a folder a revision


def _base_model(given: str, part: Part) -> Iterator[object]:
    path, begins = given_path(given), _VAE if part == "vae" else _TEXT
    if path.is_file():
        yield _known(path)
        yield from (_known(file) for file in _files(path.with_suffix(""), begins))  # configurations beside it
        return
    folder = open_folder(given)
    if isinstance(folder, HubFolder):
        index = folder.find("model_index.json")
        yield from (folder.name, None if index is None else index.parent.name)  # files lie in a folder a revision
        return
    yield from (_known(file) for file in _files(path, begins))


def _files(folder: Path, begins: tuple[str, ...]) -> list[Path]:
    """Return the files of those sub-folders whose names begin so, links followed, sorted."""
    parts = sorted(part for part in _entries(folder) if part.is_dir() and part.name.startswith(begins))
    every = (
        Path(place) / name for part in parts for place, _, names in os.walk(part, followlinks=True) for name in names
    )
    return sorted(file for file in every if file.is_file())


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _known(file: Path) -> tuple[str, int, int, str]:
    """Return a file's name, size, time of change, and a digest of blocks spread evenly over it, the last included."""
    stat, digest = file.stat(), hashlib.blake2b(digest_size=16)
    with file.open("rb") as source:
        for place in range(0, stat.st_size, max(_BLOCK, stat.st_size // _BLOCKS)):
            source.seek(place)
            digest.update(source.read(_BLOCK))
        source.seek(max(0, stat.st_size - _BLOCK))
        digest.update(source.read(_BLOCK))
    return file.name, stat.st_size, stat.st_mtime_ns, digest.hexdigest()
