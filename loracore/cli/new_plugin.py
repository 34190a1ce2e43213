"""``loracore new-plugin``: a package of one's own that trains a toy from the first minute."""

from __future__ import annotations

from pathlib import Path

import click

from loracore.plugins import GROUPS, Kind
from loracore.scaffolding.kinds import KINDS
from loracore.scaffolding.naming import Names, free_names
from loracore.scaffolding.writing import write_package


@click.command(name="new-plugin", short_help="Write the package of a new plugin.")
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(GROUPS)), required=True, help="what it adds")
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path(), help="the folder to write into (default: where you are)"
)
def new_plugin(name: str, kind: Kind, into: Path) -> None:
    """Write a package loracore-NAME: a plugin that trains a toy as it is, with a test, a README and a CI file.

    NAME is what people write behind --arch, --network_module or --extensions. The folder's path is printed, and what to
    do next.
    """
    names = free_names(name, kind)
    click.echo(write_package(names, into))
    click.echo(_next_steps(names, into))


def _next_steps(names: Names, into: Path) -> str:
    folder = into / names.distribution
    quoted = f'"{folder}"' if " " in str(folder) else folder
    steps = (f"cd {quoted}", 'pip install -e ".[test]"', f"{KINDS[names.kind].program} train toy.toml", "pytest")
    return "\n".join(["next:", *(f"  {step}" for step in steps)])
