"""The options of a run as a configuration file, which reads back as the same run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tomli_w

from loracore.config.config import Config
from loracore.config.sections import holds_data_set
from loracore.config.toml_file import TomlFile


def config_text(
    config: Config, document: TomlFile | None, comments: Sequence[str] = (), leave_out: Collection[str] = ()
) -> str:
    """Return TOML of every option that differs from its default, and of the data sets that stand in ``document``.

    Flat, with comments in front, without secrets and what is to be left out. An option that came in ``network_args``
    stands there alone.
    """
    named = {item.partition("=")[0].strip() for item in dict(config).get("network_args", ())}
    options = {
        name: _plain(value)
        for name, value in config.differing().items()
        if name not in named and name not in leave_out and value is not None
    }
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    return "\n".join([*lines, tomli_w.dumps({**options, **_data_sets(document)})])


def _plain(value: Any) -> Any:
    """Return a value as TOML has it: tuples are arrays."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _data_sets(document: TomlFile | None) -> Mapping[str, Any]:
    if document is None or not holds_data_set(document):
        return {}
    return {key: document.values[key] for key in ("general", "datasets") if key in document.values}
