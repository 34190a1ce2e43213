"""The tests that a page names, looked for in their files."""

from __future__ import annotations

import ast
from pathlib import Path


def functions_in(path: Path) -> set[str]:
    """Return the names of a file's functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
