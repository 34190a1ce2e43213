"""Folders in the diffusers layout, on this machine or on the hub: configurations and weight files by part."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from loracore.diffusion.files.hub import hub_file
from loracore.errors import DataError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class ModelFolder(Protocol):
    """A folder in the diffusers layout, with ``unet/config.json`` and the like."""

    @property
    def name(self) -> str:
        """The path or the hub id, for messages."""

    def find(self, path: str) -> Path | None:
        """Return where the file is, by its path inside the folder, or None when there is none."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder on this machine."""

    path: Path
    alone: str = ""  # the part that is all it holds, whose files then lie at its root

    @property
    def name(self) -> str:
        return str(self.path)

    def find(self, path: str) -> Path | None:
        file = self.path / _at_root(path, self.alone)
        return file if file.is_file() else None


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A model on the Hugging Face hub; its files are fetched when they are asked for, into the hub's own cache."""

    name: str
    alone: str = ""  # as above

    def find(self, path: str) -> Path | None:
        """Return the file in the hub's cache, fetched if need be; raises DataError as ``hub_file`` does."""
        return hub_file(self.name, _at_root(path, self.alone))


def _at_root(path: str, part: str) -> str:
    return path.removeprefix(f"{part}/") if part else path


def given_path(text: str) -> Path:
    """Return the path that a user gave; "~" is the home folder."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  # Path's own raises for a "~name" that is no user


def looks_like_hub_id(text: str) -> bool:
    """Tell whether a text has the form ``owner/name``."""
    return _HUB_ID.fullmatch(text) is not None


def open_folder(text: str, alone: str = "") -> ModelFolder:
    """Return the folder at a path, or the hub's model of that id; raises DataError when it can be neither.

    With ``alone`` its root holds the files of that part.
    """
    path = given_path(text)
    if path.is_dir():
        return LocalFolder(path, alone)
    if looks_like_hub_id(text):
        return HubFolder(text, alone)
    message = f"no such file or folder: {text}"
    raise DataError(
        message, fix="give a .safetensors checkpoint, a folder in the diffusers layout, or a hub id owner/name"
    )


def packaged_config(package: str, path: str) -> dict[str, Any]:
    """Return a JSON file that an installed package keeps in its folder ``configs``."""
    text = (files(package) / "configs" / path).read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def read_config(folder: ModelFolder, path: str) -> dict[str, Any] | None:
    """Return a JSON file of the folder, or None when there is none; raises DataError when it is damaged."""
    file = folder.find(path)
    if file is None:
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"the file cannot be read: {error}"
        raise DataError(message, where=str(file)) from error
    if not isinstance(config, dict):
        message = "this is no JSON object"
        raise DataError(message, where=str(file))
    return config
