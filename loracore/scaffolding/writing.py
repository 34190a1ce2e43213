"""The package of a new plugin: templates, filled in and put into a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from loracore.errors import PluginError
from loracore.hookspecs import API_VERSION
from loracore.plugins import GROUPS
from loracore.scaffolding.kinds import KINDS
from loracore.scaffolding.naming import Names

#: Templates are no modules until they are filled in: a suffix keeps them from being taken for some.
_SUFFIX = ".in"
_TEMPLATES = Path(__file__).parent / "templates"
#: The folder of what every kind has; what one kind has lies in a folder of its name.
_SHARED = "shared"


def write_package(names: Names, into: Path) -> Path:
    """Write the package into a new folder inside ``into``, which is made if need be, and return it.

    The folder appears when it is complete, or not at all. Raises PluginError where it exists or cannot be written.
    """
    target = into / names.distribution
    try:
        if target.exists():
            fix = "move it, or choose another name or --into"
            raise PluginError("this is there already", where=str(target), fix=fix)
        into.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-plugin-", dir=into) as aside:
            whole = Path(aside) / names.distribution
            _fill(names, whole)
            whole.rename(target)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise PluginError(message, where=str(target), fix="choose another --into") from error
    return target


def _fill(names: Names, folder: Path) -> None:
    words = _words(names)
    for place, text in _templates(names):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8", newline="\n")
    from loracore.scaffolding.pictures import draw_pictures  # Pillow takes its time

    draw_pictures(folder / "toy" / "pictures")


def _words(names: Names) -> Mapping[str, str]:
    """Return what stands for the templates' placeholders."""
    kind = KINDS[names.kind]
    rows = [f"| `{names.package}/{file}` | {what} |" for file, what in kind.files.items()]
    return {
        "name": names.name,
        "kind": names.kind,
        "distribution": names.distribution,
        "package": names.package,
        "identifier": names.identifier,
        "brand": names.brand,
        "group": GROUPS[names.kind],
        "api": str(API_VERSION),
        "loracore": version("loracore"),
        "description": f"{names.brand}: {kind.description}.",
        "chosen": kind.chosen.format(names.name),
        "program": kind.program,
        "test_needs": ", ".join(f'"{need}"' for need in kind.test_needs),
        "places": "\n".join(["| File | Holds |", "|---|---|", *rows]),
    }


def _templates(names: Names) -> Iterator[tuple[Path, str]]:
    """Give the place of each file in the package, and its template."""
    # Package data leaves out hidden files, and the package's own name is not known before.
    renamed = {"package": names.package, "github": ".github", "gitignore": ".gitignore"}
    for root in (_TEMPLATES / _SHARED, _TEMPLATES / names.kind):
        for file in sorted(root.rglob(f"*{_SUFFIX}")):
            parts = file.relative_to(root).with_name(file.name.removesuffix(_SUFFIX)).parts
            yield Path(*(renamed.get(part, part) for part in parts)), file.read_text(encoding="utf-8")
