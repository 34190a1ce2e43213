"""Which plugins a command line and its file name, and the options that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import pluggy

from loracore.config.checking import check
from loracore.config.declared import Declared, declare, plugin_tables
from loracore.config.flags import read_flags
from loracore.config.given import Given
from loracore.config.options import CORE_OPTIONS, LoggingOptions, PluginOptions
from loracore.config.sections import read_sections
from loracore.config.toml_file import read_toml
from loracore.defaults import DEFAULT_PLUGINS
from loracore.errors import ConfigError
from loracore.plugin_faults import answers_by_makers
from loracore.plugins import assemble, installed_plugins

#: The option tables of one command.
Tables = Sequence[type]


def core_options(tables: Tables = ()) -> Declared:
    """Return the options that every run has, without any plugin's: the core's own, and those of a command."""
    return run_options(assemble(None, None, (), DEFAULT_PLUGINS), PluginOptions(), tables)


def chosen_plugins(layers: Iterable[Sequence[Given]], core: Declared) -> PluginOptions:
    """Return which plugins these layers of options name; raises ConfigError where a name is no name."""
    names = {field.name for field in fields(PluginOptions)}
    checked = check([[each for each in layer if each.name in names] for layer in layers], core)
    if checked.problems:
        raise ConfigError.of(checked.problems)
    return checked.config[PluginOptions]


def wants_trace(layers: Iterable[Sequence[Given]], core: Declared) -> bool:
    """Tell whether these layers ask for a trace; what is wrong about that is found with everything else."""
    checked = check([[each for each in layer if each.name == "trace"] for layer in layers], core)
    return checked.config[LoggingOptions].trace


def assembled(choice: PluginOptions) -> pluggy.PluginManager:
    """Return the plugin manager of a run with these plugins and the core's defaults."""
    return assemble(choice.arch, choice.network_module, choice.extensions, DEFAULT_PLUGINS)


def run_options(manager: pluggy.PluginManager, choice: PluginOptions, tables: Tables = ()) -> Declared:
    """Return a command's options, the core's, and those of every plugin of a run, each with its owner."""
    owned: list[tuple[str, Iterable[type]]] = [("core", tables), ("core", CORE_OPTIONS)]
    plugins = manager.list_name_plugin()
    for name, plugin in plugins:
        owned += [(_owner(name, choice), tables) for tables in own_tables(manager, plugin)]
    return declare(owned)


def own_tables(manager: pluggy.PluginManager, plugin: object) -> Sequence[Tables]:
    """Return the option tables of one plugin of a manager; raises PluginError where they are none."""
    others = [other for other in manager.get_plugins() if other is not plugin]
    caller = manager.subset_hook_caller("options", others)
    return [plugin_tables(answer, wrong) for answer, wrong in answers_by_makers(caller, caller())]


def plugin_options(choice: PluginOptions, tables: Tables = ()) -> Declared:
    """Return every option of a run with these plugins; raises PluginError when one is missing or broken."""
    return run_options(assembled(choice), choice, tables)


def installed_names(kind: str) -> list[str]:
    """Return the names of the installed plugins of a kind, from metadata alone."""
    return sorted({plugin.name for plugin in installed_plugins() if plugin.kind == kind})


def line_choice(argv: Sequence[str], tables: Tables = ()) -> PluginOptions:
    """Return the plugins that a command line and its CONFIG name, nothing else being checked.

    Raises ConfigError where CONFIG cannot be read.
    """
    core = core_options(tables)
    flags = read_flags(argv, core.options)
    in_file = () if flags.config is None else read_sections(read_toml(Path(flags.config))).given
    return chosen_plugins([in_file, flags.given], core)


def flags_choice(argv: Sequence[str], tables: Tables = ()) -> PluginOptions:
    """Return the plugins that flags alone name; a CONFIG is not opened."""
    core = core_options(tables)
    return chosen_plugins([read_flags(argv, core.options).given], core)


def _owner(registered: str, choice: PluginOptions) -> str:
    if registered.startswith("default "):
        return "core"
    named = {"architecture": choice.arch, "network": choice.network_module}
    return f"{registered} {named[registered]}" if registered in named else registered
