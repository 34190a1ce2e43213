"""``loracore plugins``: what is installed, from metadata alone, what is wrong with it, and what a run asks of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from loracore.cli.hooks_shown import as_lines, as_objects, shown_hooks
from loracore.cli.plugin_check import Verdict, verdict
from loracore.cli.request import read_request
from loracore.config.options import PluginOptions
from loracore.errors import did_you_mean
from loracore.plugins import InstalledPlugin, installed_optimizers, installed_plugins, run_plugins


@click.command(short_help="Show the installed plugins.", context_settings={"ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="print a list of objects, and nothing else")
@click.option("--check", is_flag=True, help="import each plugin in a process of its own and show what is wrong with it")
@click.option("--hooks", is_flag=True, help="show who answers which hook in the run that the other words describe")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG] [--any_option …]")
def plugins(*, as_json: bool, check: bool, hooks: bool, words: tuple[str, ...]) -> None:
    """Show the installed plugins: name, kind, package, version, module; nothing is imported.

    Optimizers that packages offer by a name are among them.

    With --check the exit code is 1 when a plugin is broken.

    With --hooks, CONFIG and options are a run's, like those of `loracore train`: for each hook, in the order of a run,
    everybody who answers is shown in the order in which they are asked, with the place in the file. What `loracore
    train` registers for itself, to hear of saved states, is not among them.
    """
    if hooks and not check:
        _show_hooks(words, as_json=as_json)
        return
    if hooks or words:
        _refuse(words)
    installed = [*installed_plugins(), *installed_optimizers()]
    verdicts = {plugin: verdict(plugin, installed) for plugin in installed} if check else {}
    if as_json:
        click.echo(json.dumps([_as_object(plugin, verdicts) for plugin in installed], indent=2))
    else:
        click.echo("\n".join(_lines(installed, verdicts)) or "no plugin is installed")
    if any(each.fault for each in verdicts.values()):
        raise click.exceptions.Exit(1)


def _refuse(words: Sequence[str]) -> None:
    """Raise click's usage error for words that mean nothing here."""
    if not words:
        raise click.UsageError("--check and --hooks do not go together")
    flags = ("--json", "--check", "--hooks", "--help")
    fix = did_you_mean(words[0], flags) or "only --hooks takes the words of a run"
    raise click.UsageError(f"unexpected word '{words[0]}' ({fix})")


def _show_hooks(words: Sequence[str], *, as_json: bool) -> None:
    request = read_request(words, needs=("arch",))
    chosen = request.config[PluginOptions]
    run = run_plugins(chosen.arch, chosen.network_module, chosen.extensions)
    found = shown_hooks(request.plugins, run)
    for note in request.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(json.dumps(as_objects(found), indent=2) if as_json else "\n".join(as_lines(found)))


def _as_object(plugin: InstalledPlugin, verdicts: Mapping[InstalledPlugin, Verdict]) -> dict[str, object]:
    described: dict[str, object] = asdict(plugin)
    if plugin in verdicts:
        said = verdicts[plugin]
        described["ok"] = not said.fault
        described |= {"error": said.fault} if said.fault else {}
        described |= {"notes": list(said.notes)} if said.notes else {}
    return described


def _lines(installed: Sequence[InstalledPlugin], verdicts: Mapping[InstalledPlugin, Verdict]) -> list[str]:
    rows = [(plugin.name, plugin.kind, plugin.package, plugin.version, plugin.module) for plugin in installed]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for plugin, row in zip(installed, rows, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        said = verdicts.get(plugin)
        lines.append(line if said is None else f"{line}  {'BROKEN' if said.fault else 'ok'}")
        if said is not None:
            lines += [f"    {said.fault}"] if said.fault else []
            lines += [f"    note: {note}" for note in said.notes]
    return lines
