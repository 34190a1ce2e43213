"""What is wrong with ``base_weights`` as far as options and the files' headers tell; no torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from loracore.config.config import Config, Finding
from loracore.config.options import NetworkOptions
from loracore.errors import DataError, Problem
from loracore.networks.spellings import misnamed
from loracore.weights.network_header import network_header

_FILES, _RATIOS = "base_weights", "base_weights_multiplier"


def base_weight_findings(config: Config) -> Iterator[Finding]:
    """Give strengths that are none or too many, and files that are missing, damaged, or no trained networks."""
    network = config[NetworkOptions]
    files, ratios = network.base_weights, network.base_weights_multiplier
    if ratios and not files:
        yield Finding("wrong", _RATIOS, f"{_RATIOS} without {_FILES}", f"give --{_FILES} FILE, or leave {_RATIOS} out")
    elif len(ratios) > len(files):
        message = f"{len(ratios)} strengths for {len(files)} files of base_weights"
        yield Finding("wrong", _RATIOS, message, "give one for each file at most; 1 counts for the others")
    for ratio in ratios:
        if not math.isfinite(ratio):
            yield Finding("wrong", _RATIOS, f"{ratio} is no strength", "give finite numbers")
    for name in files:
        problem = _file_problem(Path(name))
        if problem is not None:
            yield Finding("wrong", _FILES, f"{name}: {problem.message}", problem.fix)


def _file_problem(path: Path) -> Problem | None:
    """Return what is wrong with a file by its header, None when nothing is."""
    if not path.is_file():
        return Problem("there is no such file", fix="check the path; it is relative to the working directory")
    try:
        return misnamed(network_header(path).shapes, str(path))
    except DataError as error:
        return error.problems[0]
