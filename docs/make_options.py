"""Write docs/options.md, the reference of every option, from the tables that declare them; ``--check`` compares."""
# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from loracore.cli.choice import core_options, plugin_options
from loracore.config.dataset_keys import KEYS, TABLES
from loracore.config.declared import Declared, Option
from loracore.config.options import PluginOptions
from loracore.config.values import bound_text
from loracore.weights.options import ConvertOptions, ExtractOptions, MergeOptions, ResizeOptions

TARGET = Path(__file__).with_name("options.md")

#: Keys that change nothing: what they ask for is always so.
WITHOUT_EFFECT = ("cache_info",)
#: The architectures and networks of this repository.
ARCHITECTURES = ("sdxl", "sd3")
NETWORKS = ("lora", "lora_fa", "dylora", "dora", "oft", "loha", "lokr", "lycoris")
#: Commands with options of their own.
COMMANDS = {"merge": MergeOptions, "convert": ConvertOptions, "resize": ResizeOptions, "extract": ExtractOptions}

HEADER = """\
# The options

Made by `docs/make_options.py` from the tables that declare the options; do not edit it by hand.

An option has one name: it is the flag (`--network_dim 32`), the key in a configuration file (`network_dim = 32`) and
the attribute in code. Flags win over the file; dashes and underscores are the same. Switches take no value and are
turned off by `--no_NAME`. Lists take values up to the next `--`. The same for your own set of plugins, strangers'
included: `loracore options --arch NAME --network NAME`; with `--json-schema`, a JSON Schema for editors.
"""

DATASETS = """\
## Data-set files

A data set stands in a file of its own (`dataset_config`) or in the run's file. A value in a subset wins over one in its
data set, that over `[general]`, and that over the run's option of the same meaning.
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join([HEADER, *_sections(), DATASETS, *_dataset_keys()])


def _sections() -> Iterator[str]:
    core = core_options()
    yield from _tables("The core", core, core)
    for name in ARCHITECTURES:
        yield from _tables(f"Architecture `{name}`", plugin_options(PluginOptions(arch=name)), core, "architecture")
    shown: set[type] = set()
    for name in NETWORKS:
        declared = plugin_options(PluginOptions(network_module=name))
        yield from _network(name, declared, core, shown)
        shown.update(declared.tables)
    for name, table in COMMANDS.items():
        yield from _tables(f"Command `loracore {name}`", core_options((table,)), core, "")


def _network(name: str, declared: Declared, core: Declared, shown: set[type]) -> Iterator[str]:
    """Give the tables of a network; those that another one has shown by their names."""
    own = [table for table in declared.tables if table not in core.tables]
    again = [f"`{table.__name__}`" for table in own if table in shown]
    new = replace(declared, tables=tuple(table for table in declared.tables if table not in shown))
    yield from _tables(f"Network `{name}`", new, core, "network")
    if again:
        yield f"As above: {', '.join(again)}.\n"


def _tables(title: str, declared: Declared, core: Declared, kind: str = "core") -> Iterator[str]:
    """Give the tables of one owner; those of others are left to their own sections."""
    yield f"## {title}\n"
    for table in declared.tables:
        options = [option for option in declared.options.values() if option.table is table]
        if not options or not options[0].owner.startswith(kind) or (kind != "core" and table in core.tables):
            continue
        yield f"### {table.__name__}\n"
        yield (table.__doc__ or "").strip().partition("\n")[0] + "\n"
        yield "| Option | Type | Range | Default | Owner | Help |"
        yield "|---|---|---|---|---|---|"
        yield from map(_row, options)
        yield ""


def _row(option: Option) -> str:
    note = "; also in `network_args`" if option.network_arg else ""
    cells = [f"`{option.name}`", _type(option), _range(option), _default(option), option.owner, option.help + note]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(option: Option) -> str:
    if option.shape == "switch":
        return "switch"
    names = {str: "text", int: "int", float: "float", bool: "true/false"}
    words = [names.get(kind, kind.__name__) for kind in option.kinds] + [f"`{choice}`" for choice in option.choices]
    return ("list of " if option.shape == "list" else "") + " or ".join(words)


def _range(option: Option) -> str:
    return ", ".join(map(bound_text, option.bounds))


def _default(option: Option) -> str:
    if option.default in {None, (), ""}:
        return "unset"
    if isinstance(option.default, bool):
        return "on" if option.default else "off"
    return f"`{option.default}`"


def _dataset_keys() -> Iterator[str]:
    yield "| Key | Stands in | In this version |"
    yield "|---|---|---|"
    for name, key in KEYS.items():
        homes = ", ".join(f"`{TABLES[level]}`" for level in reversed(key.levels))
        yield f"| `{name}` | {homes} | {'taken, without effect' if name in WITHOUT_EFFECT else 'yes'} |"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` say whether it is up to date."""
    made = reference().rstrip() + "\n"
    if arguments == ["--check"]:
        current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == made
        if not current:
            sys.stderr.write("docs/options.md is not up to date: python docs/make_options.py\n")
        return 0 if current else 1
    TARGET.write_text(made, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
