"""``loracore demo``: an embedded tiny model learns a concept before your eyes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomli_w

from loracore.cli.request import Request, read_request
from loracore.cli.run_command import run_command
from loracore.config.datasets import DatasetSpec, read_datasets
from loracore.config.options import PluginOptions, SavingOptions
from loracore.config.toml_file import read_toml
from loracore.errors import LoracoreError, PluginError
from loracore.plugins import installed_plugins

if TYPE_CHECKING:
    from loracore.demo.demo import DemoResult
    from loracore.types import DemoKit

FOLDER = "demo-output"


@run_command()
def demo(request: Request) -> None:
    """Train a LoRA on an embedded tiny model and show pictures before and after; no download, no GPU.

    With several demos installed, --arch chooses one. Results go to --output_dir (demo-output).
    """
    arch = request.config[PluginOptions].arch
    kits = demos([arch] if arch else _architectures())
    if not kits:
        raise LoracoreError("no installed architecture brings a demo", fix="pip install one that does")
    if len(kits) > 1:
        click.echo("installed demos: " + ", ".join(f"loracore demo --arch {name}" for name in kits))
        return
    (name, kit), *_ = kits.items()
    _show(_run(request, name, kit))


def demos(names: Sequence[str]) -> dict[str, DemoKit]:
    """Return the demo kits of these architectures; one that is broken is left out unless it was asked for alone."""
    found = {}
    for name in names:
        try:
            request = read_request(["--arch", name])
        except PluginError:
            if len(names) == 1:
                raise
            continue
        kit = request.plugins.hook.demo(config=request.config)
        if kit is not None:
            found[name] = kit
    return found


def _architectures() -> list[str]:
    """Return one name for each installed architecture, aliases left out."""
    by_module = {plugin.module: plugin.name for plugin in installed_plugins() if plugin.kind == "architecture"}
    return sorted(by_module.values())


def prepared(request: Request, arch: str, kit: DemoKit) -> tuple[Request, tuple[DatasetSpec, ...]]:
    """Write the kit's options as ``demo.toml`` into the output folder, and read them with the user's own on top."""
    folder = Path(request.config[SavingOptions].output_dir or FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "demo.toml"
    file.write_text(tomli_w.dumps({"arch": arch, "output_dir": str(folder), **kit.options}), encoding="utf-8")
    own = read_request(request.argv, beneath=read_toml(file))
    return own, read_datasets(own.config, own.document)


def _run(request: Request, arch: str, kit: DemoKit) -> DemoResult:
    own, datasets = prepared(request, arch, kit)
    from loracore.demo.demo import run_demo

    return run_demo(kit, own.config, own.plugins, datasets, Path(own.config[SavingOptions].output_dir or FOLDER))


def _show(result: DemoResult) -> None:
    width = max(len(name) for name in result.before)
    click.echo(f"{'':{width}}  before   after")
    for name, value in result.before.items():
        click.echo(f"{name:{width}}  {value:6.2f}  {result.after[name]:6.2f}")
    click.echo(f"network        {result.network}")
    click.echo(f"contact sheet  {result.sheet}")
    click.echo(f"loss curve     {result.curve}")
    click.echo(f"time           {result.seconds:.0f} s")
