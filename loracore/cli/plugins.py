"""``loracore plugins``: what is installed, from metadata alone; ``--check`` imports each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from loracore.cli.plugin_check import fault
from loracore.plugins import InstalledPlugin, installed_optimizers, installed_plugins


@click.command(short_help="Show the installed plugins.")
@click.option("--json", "as_json", is_flag=True, help="print a list of objects, and nothing else")
@click.option("--check", is_flag=True, help="import each plugin in a process of its own and show what is wrong with it")
def plugins(*, as_json: bool, check: bool) -> None:
    """Show the installed plugins: name, kind, package, version, module; nothing is imported.

    Optimizers that packages offer by a name are among them.

    With --check the exit code is 1 when a plugin is broken.
    """
    installed = [*installed_plugins(), *installed_optimizers()]
    faults = {plugin: fault(plugin, installed) for plugin in installed} if check else {}
    if as_json:
        click.echo(json.dumps([_as_object(plugin, faults) for plugin in installed], indent=2))
    else:
        click.echo("\n".join(_lines(installed, faults)) or "no plugin is installed")
    if any(faults.values()):
        raise click.exceptions.Exit(1)


def _as_object(plugin: InstalledPlugin, faults: dict[InstalledPlugin, str]) -> dict[str, object]:
    described: dict[str, object] = asdict(plugin)
    if plugin in faults:
        described["ok"] = not faults[plugin]
        if faults[plugin]:
            described["error"] = faults[plugin]
    return described


def _lines(installed: Sequence[InstalledPlugin], faults: dict[InstalledPlugin, str]) -> list[str]:
    rows = [(plugin.name, plugin.kind, plugin.package, plugin.version, plugin.module) for plugin in installed]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for plugin, row in zip(installed, rows, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        lines.append(f"{line}  {'BROKEN' if faults[plugin] else 'ok'}" if plugin in faults else line)
        if faults.get(plugin):
            lines.append(f"    {faults[plugin]}")
    return lines
