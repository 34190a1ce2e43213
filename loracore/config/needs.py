"""What a command cannot do without, asked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from loracore.config.given import Given
from loracore.errors import Problem

MODEL = "pretrained_model_name_or_path"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def missing(given: Mapping[str, Given], needs: Collection[str]) -> list[Problem]:
    """Return a problem for every needed option that was not given or is empty, and for a base model that is not there.

    A base model that is given must be there, needed or not.
    """
    ways = {name: f'give --{name} VALUE, or write {name} = "…" in CONFIG' for name in (*needs, MODEL)}
    empty = [name for name in ways if name in given and given[name].value in ("", (), [])]
    problems = [Problem(f"{name} is missing", fix=ways[name]) for name in needs if name not in given]
    problems += [Problem(f"{name} is empty", given[name].place, ways[name]) for name in empty]
    if MODEL in given and MODEL not in empty:
        problems += _model_problems(given[MODEL])
    return problems


def _model_problems(given: Given) -> list[Problem]:
    """Return the problem of a model that neither exists nor looks like ``owner/name`` on the hub."""
    name = str(given.value)
    if Path(name).expanduser().exists() or (_HUB_ID.fullmatch(name) and not name.lower().endswith(_WEIGHTS)):
        return []
    fix = "check the path; it is relative to the working directory; a hub id is written owner/name"
    return [Problem(f"base model '{name}' does not exist", given.place, fix)]
