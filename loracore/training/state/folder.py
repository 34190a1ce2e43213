"""One state as a folder: written whole or not at all, replaced without a moment in which none can be read.

A folder cannot be renamed over another that holds something. The old one steps aside first, under a name that readers
know; they find either of the two, whenever they look and wherever a run was killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save

from loracore.errors import LoracoreError
from loracore.training.results.outputs import ResultFiles
from loracore.training.state.codec import packed, unpacked
from loracore.training.state.names import aside
from loracore.weights.whole_file import move

Read = TypeVar("Read")

FORMAT = 1  # of the folder and of what it holds
TREE, TENSORS = "state.json", "state.safetensors"
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.tmp-\d+")
_LOOKS = 4  # a state that is being replaced moves between two looks


@dataclass(frozen=True, eq=False, slots=True)
class Head:
    """What a state says of itself before its tensors are read."""

    path: Path
    step: int  # the last that was taken, 1-based
    written: float  # when, seconds since the epoch
    versions: dict[str, str]  # of the packages that wrote it


def write_state(path: Path, step: int, versions: dict[str, str], tree: Any) -> None:
    """Write a state; the one that may be there stays readable until the new one is complete.

    ``tree`` is what ``codec.packed`` takes, tensors in host memory. Raises OSError when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed run that had the same process number
        temporary.mkdir()
        _fill(temporary, step, versions, tree)
        _take_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_head(path: Path) -> Head:
    """Return what a state says of itself; raises LoracoreError where there is none or it cannot be read."""
    return _tried(path, lambda found: _head(path, _document(found)))


def read_state(path: Path) -> Any:
    """Return the tree of a state, tensors in host memory.

    Raises LoracoreError where there is none, for one of another format, and for one that is not as it was written.
    """
    return read_whole(path)[1]


def read_whole(path: Path) -> tuple[Head, Any]:
    """Return what a state says of itself, and its tree; raises LoracoreError as ``read_state`` does."""
    return _tried(path, lambda found: _whole(path, found))


def remove_state(path: Path) -> None:
    """Remove a state; raises OSError when that cannot be done."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")  # half a state never has a state's name
    path.replace(temporary)
    shutil.rmtree(temporary)


def states_in(names: ResultFiles) -> list[Path]:
    """Return the states of a run that are there, those stepping aside too, in no order."""
    if not names.folder.is_dir():
        return []
    found = {_of_aside(path) for path in names.folder.iterdir() if path.is_dir()}
    return [path for path in sorted(found) if names.is_one(path.name)]


def clean_states(names: ResultFiles) -> None:
    """Bring in order what a killed run has left, half files of networks too; for who holds the folder's lock."""
    for path in list(names.folder.iterdir()):
        half = _TEMPORARY.fullmatch(path.name)
        if half and names.is_one(half["name"]):
            shutil.rmtree(path, ignore_errors=True)
        elif half and path.is_file() and names.is_one(f"{Path(half['name']).stem}-state"):
            path.unlink()
        elif (home := _of_aside(path)) != path and names.is_one(home.name):
            shutil.rmtree(path, ignore_errors=True) if home.exists() else path.replace(home)


def _of_aside(path: Path) -> Path:
    """Return the place of a state that steps aside, and any other path as it is."""
    name = path.name
    return path.with_name(name[1 : -len(".aside")]) if name.startswith(".") and name.endswith(".aside") else path


def _fill(folder: Path, step: int, versions: dict[str, str], tree: Any) -> None:
    text, tensors = packed(tree)
    stored = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    head = {
        "format": FORMAT,
        "step": step,
        "written": time.time(),
        "versions": versions,
        "tensors": {"bytes": len(stored), "blake2b": _digest(stored)},
        "content_blake2b": _digest(text.encode("ascii")),
    }
    document = json.dumps(head)[:-1] + f', "content": {text}}}\n'
    for name, content in ((TENSORS, stored), (TREE, document.encode("utf-8"))):
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _take_place(temporary: Path, path: Path) -> None:
    """Give a complete folder its name; what has the name steps aside and is removed last."""
    other = aside(path)
    if path.exists():
        shutil.rmtree(other, ignore_errors=True)  # of a killed run; the state itself is there
        move(path, other)
    try:
        move(temporary, path)
    except OSError:
        if other.exists() and not path.exists():
            other.replace(path)
        raise
    _sync(path.parent)
    shutil.rmtree(other, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have a folder's entries on the disk; Windows opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tried(path: Path, read: Callable[[Path], Read]) -> Read:
    """Read a state at its place, or aside; again where it moved in between."""
    reason: Exception | None = None
    for place in _looks(path):
        try:
            return read(place)
        except LoracoreError:
            raise
        except FileNotFoundError as error:
            reason = reason or error
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = error
    missing = isinstance(reason, FileNotFoundError) and not path.exists()
    message = "there is no such state" if missing else f"this state is damaged: {_words(reason)}"
    raise LoracoreError(message, where=str(path), fix="give another state, or leave --resume out") from reason


def _looks(path: Path) -> Iterator[Path]:
    for _ in range(_LOOKS):
        yield path
        yield aside(path)


def _words(reason: Exception | None) -> str:
    if isinstance(reason, FileNotFoundError):
        return f"{Path(str(reason.filename)).name} is missing"
    return str(reason)


def _document(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / TREE).read_text(encoding="utf-8"))
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        message = f"{TREE} does not describe a state"
        raise ValueError(message)  # noqa: TRY004  # of what was read
    if document["format"] != FORMAT:
        age = "a newer" if document["format"] > FORMAT else "an older"
        message = f"this state has the format {document['format']} of {age} version; this one reads {FORMAT}"
        fix = f"resume it with loracore {document.get('versions', {}).get('loracore', 'as it was written with')}"
        raise LoracoreError(message, where=str(folder), fix=fix)
    return document


def _head(path: Path, document: dict[str, Any]) -> Head:
    return Head(path, int(document["step"]), float(document["written"]), dict(document["versions"]))


def _whole(path: Path, folder: Path) -> tuple[Head, Any]:
    document = _document(folder)
    stored = (folder / TENSORS).read_bytes()
    own = document["tensors"]
    if len(stored) != own["bytes"] or _digest(stored) != own["blake2b"]:
        message = f"{TENSORS} is not as it was written"
        raise ValueError(message)
    text = json.dumps(document["content"])  # the very text that was written: dumps decides alone how it looks
    if _digest(text.encode("ascii")) != document["content_blake2b"]:
        message = f"{TREE} is not as it was written"
        raise ValueError(message)
    return _head(path, document), unpacked(text, load(stored))


def _digest(stored: bytes) -> str:
    return hashlib.blake2b(stored, digest_size=16).hexdigest()
