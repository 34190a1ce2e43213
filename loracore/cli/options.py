"""``loracore options``: every option with type, default, owner and help, or a JSON Schema for editors."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from loracore.cli.choice import core_options, plugin_options
from loracore.cli.completion import complete_architectures, complete_networks
from loracore.config.declared import Declared
from loracore.config.json_schema import json_schema
from loracore.config.options import PluginOptions
from loracore.config.printing import options_text
from loracore.plugins import InstalledPlugin, installed_plugins


@click.command(short_help="Show every option with type, default, owner and help.")
@click.option("--arch", shell_complete=complete_architectures, help="add this architecture's options")
@click.option("--network", shell_complete=complete_networks, help="add this network's options (with --arch: lora)")
@click.option("--json-schema", "as_schema", is_flag=True, help="print a JSON Schema of configuration files instead")
def options(arch: str | None, network: str | None, *, as_schema: bool) -> None:
    """Show every option with type, default, owner and help; without an architecture, the core's.

    The JSON Schema gives editors completion and marks misspelt keys: #:schema FILE in the first line of a TOML file.
    """
    declared = _declared(arch, network)
    if as_schema:
        click.echo(json.dumps(json_schema(declared, complete=arch is not None), indent=2))
        return
    click.echo(options_text(declared))
    if arch is None:
        click.echo("Installed plugins; their options: loracore options --arch NAME, --network NAME")
        click.echo("\n".join(_line(plugin) for plugin in installed_plugins()) or "  none")


def _declared(arch: str | None, network: str | None) -> Declared:
    if arch is None and network is None:
        return core_options()
    choice = PluginOptions(arch=arch)
    return plugin_options(choice if network is None else replace(choice, network_module=network))


def _line(plugin: InstalledPlugin) -> str:
    return f"  {plugin.kind} {plugin.name} ({plugin.origin})"
