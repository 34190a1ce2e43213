"""``loracore inspect``: what a network's file holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from loracore.errors import LoracoreError

_BROKEN = 1  # exit code


@click.command(short_help="Show what a LoRA file, or one of another network, holds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--picture", type=click.Path(path_type=Path), help="write the norms of the blocks as a picture (.png)")
@click.option("--overwrite", is_flag=True, help="replace a picture that exists already")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, and nothing else")
def inspect(file: Path, picture: Path | None, *, overwrite: bool, as_json: bool) -> None:
    """Show what FILE, a trained network, holds: kinds, ranks and alphas, header, norms, broken and dead modules.

    The file is read one module at a time. Neither the base model nor its architecture is needed. Norms are those of
    the change of the weight (Frobenius), alpha / rank included; some kinds tell them with the base model only. The
    exit code is 1 for a file with broken tensors (NaN or infinity).
    """
    _check_picture(picture, overwrite=overwrite)

    from loracore.cli.inspect_text import as_object, lines
    from loracore.weights.inspect.inspecting import inspect_file
    from loracore.weights.whole_file import whole_file

    found = inspect_file(file)
    if picture is not None:
        from loracore.weights.inspect.norm_picture import norm_picture

        with whole_file(picture, "give another --picture") as target:
            target.write(norm_picture(found))
    if as_json:
        click.echo(json.dumps(as_object(found), indent=1))
    else:
        click.echo("\n".join([*lines(found), *([] if picture is None else [f"picture        {picture}"])]))
    if any(tensor.bad for tensor in found.tensors):
        click.get_current_context().exit(_BROKEN)


def _check_picture(picture: Path | None, *, overwrite: bool) -> None:
    if picture is None:
        return
    if picture.suffix.lower() != ".png":
        raise LoracoreError(f"'{picture}' does not end with .png", where="--picture", fix="only this format is written")
    if picture.exists() and not overwrite:
        fix = "give --overwrite to replace it, or another name"
        raise LoracoreError(f"'{picture}' exists already", where="--picture", fix=fix)
