"""What a command line asks for although something is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loracore.cli.choice import core_options, line_choice, plugin_options
from loracore.config.checking import check
from loracore.config.config import Config
from loracore.config.declared import Declared
from loracore.config.flags import read_flags
from loracore.config.sections import read_sections
from loracore.config.toml_file import TomlFile, read_toml
from loracore.errors import LoracoreError, Problem


def sound_config(words: Sequence[str], problems: Sequence[Problem]) -> tuple[Config, TomlFile | None] | None:
    """Return the options and CONFIG as if what the problems name did not stand there; None where CONFIG is unreadable.

    For looking at pictures in spite of mistakes.
    """
    declared = _known(words)
    try:
        flags = read_flags(words, declared.options)
        document = None if flags.config is None else read_toml(Path(flags.config))
    except LoracoreError:
        return None
    in_file = () if document is None else read_sections(document).given
    layers = (in_file, flags.given)
    # where plugins are missing, nobody has looked at the other options yet
    wrong = {problem.where for problem in (*problems, *check(layers, declared).problems)}
    sound = [[each for each in layer if each.place not in wrong] for layer in layers]
    return check(sound, declared).config, document


def _known(words: Sequence[str]) -> Declared:
    """Return every option of the run, or the core's where its plugins cannot be found."""
    try:
        return plugin_options(line_choice(words))
    except LoracoreError:
        return core_options()
