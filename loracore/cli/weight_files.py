"""What the commands for weight files have in common: how they are read, where the result goes, in which precision.

A request's notes are about training and are not shown: nothing is trained here, whatever CONFIG says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracore.cli.choice import Tables
from loracore.cli.request import Request, read_request
from loracore.config.config import Config
from loracore.config.options import SavingOptions
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError, Problem

if TYPE_CHECKING:
    import torch


def reader(
    own: Tables, problems: Callable[[Config], Iterable[Problem]]
) -> Callable[[Sequence[str], Collection[str]], Request]:
    """Return how a command with ``own`` tables reads its words: its files' ``problems`` are told with all else."""

    def found(config: Config, _document: TomlFile | None = None) -> list[Problem]:
        return list(problems(config))

    def read(words: Sequence[str], needs: Collection[str]) -> Request:
        request = read_request(words, needs, tables=own, also=found)
        wrong = found(request.config)
        if wrong:
            raise ConfigError.of(wrong)
        return request

    return read


def target_problems(save_to: str | None, inputs: Sequence[str], config: Config) -> Iterator[Problem]:
    """Give what is wrong with the file that is to be written: its ending, what it would replace, or its folder."""
    if not save_to:
        return
    path, where = Path(save_to), config.place("save_to")
    if path.suffix != ".safetensors":
        yield Problem(f"'{save_to}' does not end with .safetensors", where, "only this format is written")
    elif path.resolve() in {Path(name).resolve() for name in inputs}:
        yield Problem(f"'{save_to}' is read, too", where, "give the result another name")
    elif path.exists() and not config[SavingOptions].overwrite:
        yield Problem(f"'{save_to}' exists already", where, "give --overwrite to replace it, or another name")
    folder = next((folder for folder in path.absolute().parents if folder.exists()), path.absolute().parent)
    if not folder.is_dir():
        yield Problem(f"'{folder}' is no folder", where, "give another name")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Problem(f"nothing can be written into '{folder}'", where, "give another name, or change its permissions")


def saved_as(config: Config) -> torch.dtype | None:
    """Return the dtype of ``save_precision``; None, unset, leaves tensors as they are."""
    from loracore.training.results.checkpoints import save_dtype

    precision = config[SavingOptions].save_precision
    return None if precision is None else save_dtype(precision)
