"""What a state says of the files of the models that its run was trained on: the same files elsewhere are the same."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loracore.config.config import Config
from loracore.config.options import CORE_OPTIONS, SavingOptions

_BASE = ("pretrained_model_name_or_path", "base_weights")
_WEIGHTS = frozenset({".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".gguf"})
_CONFIGS = frozenset({"config.json", "model_index.json"})
_NO_MODEL = ("_dir", "_folder")  # how options end that name caches, of tokenizers for example
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES = ("model_index.json", "config.json", "vae/config.json")  # one of them is fetched for every model
_BLOCK, _BLOCKS = 4096, 256  # bytes of a sample, samples of a file: a megabyte of it is read
_LENGTH, _LONGEST = 8, 2**27  # of what is in front of a safetensors header, and of a header that is believed


def model_identities(config: Config, known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return what tells the models from others, by option: the base model, and files that the plugins' options name.

    Of a file its length and a digest of its header and of samples spread over it, of a folder those of its weights and
    configurations by name, of a model of the hub the revision that is on this machine. Options that name nothing such
    are left out, so are files that cannot be read, and results that lie in a model's folder. Neither places nor times
    of change are among it. Files and folders that are ``known`` from an earlier look are not read again; what the hub
    has given may have changed since.
    """
    core = {field.name for table in CORE_OPTIONS for field in fields(table)}
    results = config[SavingOptions].output_dir
    own = None if results is None else os.path.realpath(os.path.expanduser(results))  # noqa: PTH111
    found = (
        (name, known[name] if _on_disk(known.get(name)) else _identity(value, own))
        for name, value in config.shaping().items()
        if name in _BASE or (name not in core and not name.endswith(_NO_MODEL))
    )
    return {name: identity for name, identity in found if identity is not None}


def model_differences(saved: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the options whose models are others than the state's, with what differs."""
    for name in sorted(saved.keys() & own.keys()):
        if not comparable(saved[name], own[name]) or _same(saved[name], own[name]):
            continue
        if "revision" in own[name]:
            before, now = saved[name]["revision"], own[name]["revision"]
            yield name, f"is revision {now} on the hub, the state's run had {before}"
        else:
            yield name, "names other weights than those that the state was trained on"


def comparable(saved: Any, own: Any) -> bool:
    """Tell whether two identities are of one kind: a file and a folder, or a folder and a hub's model, may be alike."""
    if saved.keys() != own.keys():
        return False
    if "several" in own and len(saved["several"]) == len(own["several"]):
        return all(comparable(*pair) for pair in zip(saved["several"], own["several"], strict=True))
    return True


def _same(saved: Any, own: Any) -> bool:
    """Compare identities of one kind; of folders the files that both have, one at least."""
    if "several" in own and len(saved["several"]) == len(own["several"]):
        return all(_same(*pair) for pair in zip(saved["several"], own["several"], strict=True))
    if "folder" not in own:
        return bool(saved == own)
    before, now = saved["folder"], own["folder"]
    both = before.keys() & now.keys()
    return bool(both) and all(before[name] == now[name] for name in both)


def _identity(value: Any, results: str | None) -> dict[str, Any] | None:
    if isinstance(value, tuple) and value:
        several = [_identity(one, results) for one in value]
        return None if None in several else {"several": several}
    if not isinstance(value, str) or not value:
        return None
    path = Path(os.path.expanduser(value))  # noqa: PTH111  # Path's own raises for a "~name" that is no user
    if os.path.isfile(path):  # noqa: PTH113  # and for texts that are too long for a name
        known = _known(path)
        return None if known is None else {"file": known}
    if os.path.isdir(path):  # noqa: PTH112
        every = {file.relative_to(path).as_posix(): _known(file) for file in _files(path, results)}
        files = {name: known for name, known in every.items() if known is not None}
        return {"folder": files} if files else None
    return _on_hub(value) if _HUB_ID.fullmatch(value) else None


def _on_disk(identity: Mapping[str, Any] | None) -> bool:
    return identity is not None and bool({"file", "folder"} & identity.keys())


def _files(folder: Path, results: str | None) -> Iterator[Path]:
    """Give the weights and configurations in a folder, but not those in the folder of ``results``."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if os.path.realpath(place) == results and Path(place) != folder:
            folders.clear()
            continue
        chosen = (name for name in sorted(names) if name in _CONFIGS or Path(name).suffix.lower() in _WEIGHTS)
        yield from (Path(place) / name for name in chosen)


def _on_hub(name: str) -> dict[str, Any] | None:
    """Return the revision in the hub's cache, whose files lie in a folder a revision; None: there is none yet."""
    from huggingface_hub import try_to_load_from_cache

    for file in _HUB_FILES:
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return {"hub": name, "revision": Path(found).parents[file.count("/")].name}
    return None


def _known(file: Path) -> list[Any] | None:
    """Return a file's length and digest; None when it cannot be read, as where a link leads nowhere."""
    try:
        return _read(file)
    except OSError:
        return None


def _read(file: Path) -> list[Any]:
    size, digest = file.stat().st_size, hashlib.blake2b(digest_size=16)
    with file.open("rb") as source:
        header = int.from_bytes(source.read(_LENGTH), "little") if file.suffix == ".safetensors" else 0
        if header < min(size, _LONGEST):
            digest.update(source.read(header))  # names and shapes of all tensors
        for place in (*range(0, size, max(_BLOCK, size // _BLOCKS)), max(0, size - _BLOCK)):
            source.seek(place)
            digest.update(source.read(_BLOCK))
    return [size, digest.hexdigest()]
