"""``loracore demo``: an embedded tiny model learns a concept before your eyes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomli_w

from loracore.cli.choice import line_choice, run_options
from loracore.cli.request import Request, read_request
from loracore.cli.run_command import run_command
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.config.options import PluginOptions, SavingOptions
from loracore.config.toml_file import TomlFile, read_toml
from loracore.defaults import DEFAULT_PLUGINS
from loracore.errors import LoracoreError
from loracore.plugins import assemble, installed_plugins
from loracore.training.results.outputs import check_writable, result_files

if TYPE_CHECKING:
    from loracore.demo.demo import DemoResult
    from loracore.types import DemoKit

FOLDER = "demo-output"
_FILE = "demo.toml"
_NEEDS = ("arch", "output_dir")


def _as_they_are(words: Sequence[str], _needs: Collection[str]) -> tuple[str, ...]:
    """Return the words unread: only the kit says which architecture they are read for."""
    return tuple(words)


@run_command(read=_as_they_are, configured=False)
def demo(words: Sequence[str]) -> None:
    """Train a LoRA on an embedded tiny model and show pictures before and after; no download, no GPU.

    With several demos installed, --arch chooses one. Results go to --output_dir (demo-output).
    """
    asked = line_choice(words).arch
    kits = demos(asked)
    if not kits:
        whose = "no installed architecture brings a demo" if asked is None else f"architecture '{asked}' brings no demo"
        raise LoracoreError(whose, fix="pip install one that does")
    if len(kits) > 1:
        click.echo("installed demos: " + ", ".join(f"loracore demo --arch {name}" for name in kits))
        return
    (name, kit), *_ = kits.items()
    _show(_run(words, name, kit))


def demos(asked: str | None) -> dict[str, DemoKit]:
    """Return the demo kits of the architecture that was asked for, or of every installed one.

    One that is broken is left out with a note on stderr, unless it was asked for: then it raises what it raises.
    """
    if asked is not None:
        kit = _kit(asked)
        return {} if kit is None else {asked: kit}
    found = {}
    for name in _architectures():
        try:
            kit = _kit(name)
        except Exception as error:  # noqa: BLE001  # a stranger's code must not disturb the demo of another
            click.echo(f"note: the demo of architecture '{name}' is left out: {error}", err=True)
            continue
        if kit is not None:
            found[name] = kit
    return found


def _kit(arch: str) -> DemoKit | None:
    """Ask an architecture for its demo; its view of the options, of which none is given yet, is not asked."""
    choice = PluginOptions(arch=arch)
    manager = assemble(arch, None, (), DEFAULT_PLUGINS)
    tables = run_options(manager, choice).tables
    config = Config([choice if table is PluginOptions else table() for table in tables], {})
    kit: DemoKit | None = manager.hook.demo(config=config)
    return kit


def _architectures() -> list[str]:
    """Return one name for each installed architecture, aliases left out."""
    by_module = {plugin.module: plugin.name for plugin in installed_plugins() if plugin.kind == "architecture"}
    return sorted(by_module.values())


def prepared(words: Sequence[str], arch: str, kit: DemoKit) -> tuple[Request, tuple[DatasetSpec, ...]]:
    """Write the kit's options as ``demo.toml`` into the output folder, and read them with the user's own on top.

    The user's own are read before as well, so that no folder is made for words that are wrong.
    """
    options = {"arch": arch, "output_dir": FOLDER, **kit.options}
    request = read_request(words, _NEEDS, beneath=TomlFile(Path(_FILE), options, {}))
    folder = result_files(request.config[SavingOptions]).folder
    check_writable(folder)
    file = folder / _FILE
    try:
        file.write_text(tomli_w.dumps({**options, "output_dir": str(folder)}), encoding="utf-8")
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise LoracoreError(message, where=str(file), fix="move it, or give another --output_dir") from error
    own = read_request(words, _NEEDS, beneath=read_toml(file))
    return own, read_datasets(own.config, own.document)


def _run(words: Sequence[str], arch: str, kit: DemoKit) -> DemoResult:
    own, datasets = prepared(words, arch, kit)
    from loracore.demo.demo import run_demo

    folder = result_files(own.config[SavingOptions]).folder
    return run_demo(kit, own.config, own.plugins, datasets, folder, notes=own.notes)


def _show(result: DemoResult) -> None:
    width = max(len(name) for name in result.before)
    click.echo(f"{'':{width}}  before   after")
    for name, value in result.before.items():
        click.echo(f"{name:{width}}  {value:6.2f}  {result.after[name]:6.2f}")
    click.echo(f"network        {result.network}")
    click.echo(f"contact sheet  {result.sheet}")
    click.echo(f"loss curve     {result.curve}")
    click.echo(f"time           {result.seconds:.0f} s")
