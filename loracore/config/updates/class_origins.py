"""Which installed distribution a module comes from; a module of the working folder comes from none. No torch here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from loracore.errors import ConfigError


def distribution_of(module: str, option: str) -> str:
    """Return ``name version`` of the installed distribution that a module's top-level package comes from.

    Nothing is imported. Raises ConfigError when there is no such package, and when Python would take it from somewhere
    else: from the working folder, or from a folder that nothing was installed to.
    """
    top = module.partition(".")[0]
    spec = _spec(top)
    if spec is None:
        message = f"no package '{top}' is installed"
        raise ConfigError(message, where=f"--{option}", fix="install the package that brings the class")
    if spec.origin in {"built-in", "frozen", None}:
        message = f"'{top}' comes from no installed package"
        raise ConfigError(message, where=f"--{option}", fix="name a class of an installed package")
    file = Path(str(spec.origin)).resolve()
    for found in _distributions(top):
        if _brings(found, file, top):
            return f"{found.name} {found.version}"
    message = f"'{top}' would be imported from {file.parent}, which belongs to no installed package"
    raise ConfigError(message, where=f"--{option}", fix="install it with pip, or move that folder away")


def is_installed(module: str) -> bool:
    """Tell whether a module's top-level package can be found, without importing it."""
    return _spec(module.partition(".")[0]) is not None


def _spec(top: str) -> ModuleSpec | None:
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # an empty name, or a module without a spec
        return None


def _distributions(top: str) -> Iterator[Distribution]:
    """Give the distributions that may bring a package; first the one of its own name, which is found at once."""
    with suppress(PackageNotFoundError):
        yield distribution(top)
    for name in dict.fromkeys(packages_distributions().get(top, ())):
        yield distribution(name)


def _brings(found: Distribution, file: Path, top: str) -> bool:
    """Tell whether this file is the distribution's: installed with it, or in the folder it is developed in."""
    source = _developed_in(found)
    if source is not None:
        return file.is_relative_to(source)
    root = Path(str(found.locate_file(""))).resolve()
    if root == Path.cwd().resolve():
        return False
    return file in {root / top / "__init__.py", *(_root_files(root, top))}


def _root_files(root: Path, top: str) -> Iterator[Path]:
    """Give the files of a single module, compiled or not."""
    yield root / f"{top}.py"
    yield from (one.resolve() for one in root.glob(f"{top}.*.so"))
    yield from (one.resolve() for one in root.glob(f"{top}.*.pyd"))


def _developed_in(found: Distribution) -> Path | None:
    """Return the folder of an editable install (PEP 610)."""
    text = found.read_text("direct_url.json")
    if text is None:
        return None
    told = json.loads(text)
    if not told.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(unquote(urlsplit(told["url"]).path))).resolve()
