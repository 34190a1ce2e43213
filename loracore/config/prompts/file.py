"""A file of prompts as the field writes it: lines, a TOML table or a JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loracore.config.file_values import parsed
from loracore.config.prompts.line import read_line
from loracore.config.prompts.prompt import Prompt, Remark, prompt_of, remarks_on
from loracore.config.toml_file import read_toml
from loracore.config.utf8_file import utf8_text
from loracore.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PromptFile:
    """The prompts of a file in their order, and what is said of them; prompts that are wrong are among them."""

    values: tuple[tuple[Mapping[str, Any], str], ...]  # with their place
    remarks: tuple[Remark, ...]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Return the prompts; call it where nothing is wrong with the file."""
        return tuple(prompt_of(values, where) for values, where in self.values)


def read_prompts(path: Path) -> PromptFile:
    """Return what a .txt, .toml or .json file of prompts holds.

    Raises ConfigError for a missing or unreadable file, another suffix, and a syntax error.
    """
    readers = {".txt": _lines, ".toml": _toml, ".json": _json}
    if path.suffix.lower() not in readers:
        message = f"a file of prompts ends in {', '.join(readers)}, not in '{path.suffix}'"
        raise ConfigError(message, where=str(path))
    if not path.is_file():
        fix = "check the path; it is relative to the working directory"
        raise ConfigError("no such file of prompts", where=str(path), fix=fix)
    values, remarks = [], list[Remark]()
    for own, where, said in readers[path.suffix.lower()](path):
        values.append((own, where))
        remarks += [*said, *remarks_on(own, where)]
    if not values:
        remarks.append(Remark("wrong", "the file holds no prompt", where=str(path)))
    return PromptFile(tuple(values), tuple(remarks))


Found = tuple[Mapping[str, Any], str, list[Remark]]


def _lines(path: Path) -> Iterator[Found]:
    """Give one prompt a line; blank lines and those that begin with # are none."""
    for number, line in enumerate(utf8_text(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            where = f"{path}:{number}"
            values, remarks = read_line(line.strip(), where)
            yield values, where, remarks


def _toml(path: Path) -> Iterator[Found]:
    """Give the tables of ``[[prompt.subset]]``, each over the values of ``[prompt]``."""
    document = read_toml(path)
    for key in document.values:
        if key != "prompt":
            yield {}, str(path), [Remark("wrong", f"unknown key '{key}'", "write [prompt]", document.place(key))]
    table = document.values.get("prompt")
    subsets = table.get("subset", []) if isinstance(table, dict) else []
    if not isinstance(table, dict) or not isinstance(subsets, list):
        fix = "write [prompt] with what all prompts have alike, and [[prompt.subset]] for each"
        yield {}, str(path), [Remark("wrong", "there is no table of prompts", fix, str(path))]
        return
    shared = {key: value for key, value in table.items() if key != "subset"}
    for index, subset in enumerate(subsets):
        place = document.place("prompt", "subset", index)
        own = subset if isinstance(subset, dict) else {"prompt": subset}
        yield {**shared, **own}, place, []


def _json(path: Path) -> Iterator[Found]:
    """Give the elements of a list: texts as lines have them, or tables of values."""
    try:
        elements = parsed(json.loads, utf8_text(path), path)
    except json.JSONDecodeError as error:
        message = f"JSON syntax error in column {error.colno}: {error.msg}"
        raise ConfigError(message, where=f"{path}:{error.lineno}") from error
    if not isinstance(elements, list):
        raise ConfigError("this should be a list of prompts", where=str(path))
    for number, element in enumerate(elements, 1):
        where = f"{path}, prompt {number}"
        if isinstance(element, str):
            values, remarks = read_line(element, where)
            yield values, where, remarks
        elif isinstance(element, dict):
            yield element, where, []
        else:
            yield {}, where, [Remark("wrong", "a prompt should be a text or a table", where=where)]
