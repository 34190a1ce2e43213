"""Which source files are a plugin's, and whose code an exception went through last."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb


def raiser(error: BaseException, titles: Mapping[str, str]) -> str:
    """Return the title of the plugin whose package the innermost line of an exception lies in, of all that do so.

    ``titles`` are plugins' by the names of their modules. Where several share a package, the one whose module is
    nearest to the line counts; of equals all are named. Empty where the exception went through none of them.
    """
    files = {module: file for module in titles if (file := file_of(module)) is not None}
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        near = {module: _nearness(path, file, module) for module, file in files.items()}
        best = max(near.values(), default=0)
        if best:
            return " or ".join(dict.fromkeys(titles[module] for module in near if near[module] == best))
    return ""


def belongs(path: Path, file: Path, module: str) -> bool:
    """Tell whether a source file is a plugin's: its module's ``file``, or beside it in a package."""
    in_package = file.name == "__init__.py" or "." in module
    return path == file or (in_package and file.parent in path.parents)


def file_of(module: str) -> Path | None:
    """Return the file of a module by its name, which may be one that cannot be imported."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # noqa: BLE001  # the package above it may raise whatever it likes
        spec = None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _nearness(path: Path, file: Path, module: str) -> int:
    """Return how near a source file is to a plugin's module; 0 where it is no part of its package."""
    depth = len(path.parts)
    if path == file:
        return 2 * depth
    if belongs(path, file, module):
        return depth + len(file.parts)
    top = module.partition(".")[0]
    root = None if top == "loracore" else file_of(top)  # the core is nobody's package
    return 1 if root is not None and belongs(path, root, top) else 0
