"""How often a package is installed: Python takes the first copy on its path and says nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from loracore.errors import PluginError


@dataclass(frozen=True, slots=True)
class Copy:
    """One installation of a package."""

    version: str
    folder: Path


def copies(package: str) -> Sequence[Copy]:
    """Return every installation of a package, in the order of Python's path: the first one counts."""
    found = (Copy(one.version, Path(str(one.locate_file(""))).resolve()) for one in distributions(name=package))
    return list(dict.fromkeys(found))


def check_copies(package: str) -> None:
    """Raise PluginError when one folder has two versions of a package: nobody knows whose modules lie there."""
    found = copies(package)
    for index, one in enumerate(found):
        rivals = [other for other in found[:index] if other.folder == one.folder and other.version != one.version]
        if rivals:
            message = f"{package} is installed twice in {one.folder}: {rivals[0].version} and {one.version}"
            fix = f"pip uninstall {package}, until it finds none, and install it again"
            raise PluginError(message, fix=fix)


def hidden_copies(package: str) -> str:
    """Return what to say of other versions of a package, in folders further back on the path; empty without any."""
    found = copies(package)
    hidden = [f"{one.version} in {one.folder}" for one in found[1:] if one.version != found[0].version]
    if not hidden:
        return ""
    counts = f"{found[0].version} in {found[0].folder}"
    return f"{package} is installed twice: {counts} counts, {', '.join(hidden)} does not"
