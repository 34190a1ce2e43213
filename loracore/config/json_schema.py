"""A JSON Schema of configuration files, from the tables themselves, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from loracore.config.annotated_fields import adapter_of
from loracore.config.dataset_keys import KEYS, Level
from loracore.config.declared import Declared, Option

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: What pydantic takes over from ``option()`` and editors have no use for.
_OURS = frozenset(
    {"title", "network_arg", "affects", "hashed_as", "neutral", "secret", "place", "default", "ge", "gt", "le", "lt"}
)


def json_schema(declared: Declared, *, complete: bool) -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file with these options.

    Options stand at the top or one section deep. Unknown keys are refused when the options are ``complete``; without
    them, because no architecture is chosen, they are let through.
    """
    references = {name: {"$ref": f"#/$defs/{name}"} for name in declared.options}
    section: dict[str, Any] = {"type": "object", "properties": references}
    if complete:
        section["additionalProperties"] = False
    return {
        "$schema": _DIALECT,
        "title": "loracore configuration file",
        "$defs": {name: schema for table in declared.tables for name, schema in _table_schemas(table, declared)},
        "type": "object",
        "properties": {
            **references,
            **_dataset_schemas(),
        },
        "additionalProperties": section if complete else True,
    }


def _dataset_schemas() -> dict[str, Any]:
    """Return what may stand in ``[general]``, which without a data set is any section, and in ``[[datasets]]``."""
    subset = {"type": "object", "properties": _key_schemas("subsets"), "additionalProperties": False}
    nested = {"description": "folders of pictures", "type": "array", "items": subset}
    dataset = {
        "type": "object",
        "properties": {**_key_schemas("datasets"), "subsets": nested},
        "additionalProperties": False,
    }
    general = {"description": "the data set's defaults, or a section", "type": "object"}
    return {
        "general": {**general, "properties": _key_schemas("general")},
        "datasets": {"description": "the data set, when it stands in the same file", "type": "array", "items": dataset},
    }


def _key_schemas(level: Level) -> dict[str, Any]:
    return {name: TypeAdapter(key.type).json_schema() for name, key in KEYS.items() if level in key.levels}


def _table_schemas(table: type, declared: Declared) -> list[tuple[str, dict[str, Any]]]:
    properties = adapter_of(table).json_schema()["properties"]
    return [(name, _option_schema(declared.options[name], found)) for name, found in properties.items()]


def _option_schema(option: Option, found: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in found.items() if key not in _OURS}
    members = [member for member in kept.pop("anyOf", []) if member != {"type": "null"}]  # TOML has no null
    if len(members) == 1:
        kept |= members[0]
    elif members:
        kept["anyOf"] = members
    if option.shape == "list":
        item = kept.pop("items", {})
        kept.pop("type", None)
        kept["anyOf"] = [{"type": "array", "items": item}, item]  # a single value is a list of one
    if option.shape == "one":
        kept |= {key: int(limit) if limit.is_integer() else limit for key, limit in option.bounds}
    if option.default is not None:
        kept["default"] = option.default
    return kept
