"""Data-set files and run options for the tests of reading them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loracore.config.checking import check
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.declared import declare
from loracore.config.flags import read_flags
from loracore.config.options import CORE_OPTIONS, DataOptions, TrainingOptions

Read = Callable[..., tuple[DatasetSpec, ...]]
Wrong = Callable[..., list[str]]


def golden(section: str) -> list[dict[str, Any]]:
    """Return what the field answers, case by case."""
    path = Path(__file__).parents[2] / "data" / "dataset.json"
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))[section]["cases"]
    return found


def config_of(**options: Any) -> Config:
    """Return the config of a run in which these options of the data are given as flags."""
    return Config([DataOptions(**options), TrainingOptions()], {name: f"--{name}" for name in options})


def config_from(*words: str) -> Config:
    """Return the config of a command line."""
    declared = declare([("core", CORE_OPTIONS)])
    checked = check([read_flags(words, declared.options).given], declared)
    assert not checked.problems
    return checked.config


def one(keys: str = "", subset: str = "", general: str = "") -> str:
    """Write a data set of resolution 512 with one subset; the subset's keys begin on line 7."""
    outer = f"[general]\n{general}\n[[datasets]]\n{keys or 'resolution = 512'}\n"
    return f"{outer}\n[[datasets.subsets]]\n{subset}\nimage_dir = 'pics'\n"


def two(first: str, second: str) -> str:
    """Write a data set of resolution 512 with two subsets, whose keys begin on line 4 and on line 7."""
    subsets = (f"[[datasets.subsets]]\n{keys}\n\n" for keys in (first, second))
    return "[[datasets]]\nresolution = 512\n" + "".join(subsets)
