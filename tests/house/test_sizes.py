"""A file fits three screens, a function fits one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

Sources = Mapping[Path, ast.Module]
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
DEEPEST = 3

LARGEST_PLUGIN = 900  # lines of an architecture, its demo excepted
LONGEST_OF_A_NETWORK = 199  # lines of a file in the package of networks

NESTING = (ast.For, ast.While, ast.If, ast.Try, ast.With, ast.Match)


@pytest.fixture(scope="session")
def sources(core: Sources, plugins: Sources) -> Sources:
    return {**core, **plugins}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(function: Function) -> int:
    """Return how many lines a function's body has, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def depth(node: ast.AST) -> int:
    """Return how many blocks stand inside each other; ``elif`` is no deeper than its ``if``."""
    inner = [depth(child) + _deepens(node, child) for child in ast.iter_child_nodes(node)]
    return max(inner, default=0)


def _deepens(parent: ast.AST, child: ast.AST) -> bool:
    is_elif = isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]
    return isinstance(child, NESTING) and not is_elif


def test_no_file_is_longer_than_three_screens(sources: Sources, root: Path) -> None:
    lengths = {str(path): len((root / path).read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_files_of_networks_are_short(plugins: Sources, root: Path) -> None:
    files = [path for path in plugins if "networks" in path.parts]
    lengths = {str(path): len((root / path).read_text(encoding="utf-8").splitlines()) for path in files}
    assert files
    assert {path: length for path, length in lengths.items() if length > LONGEST_OF_A_NETWORK} == {}


def test_no_function_is_longer_than_a_screen(sources: Sources) -> None:
    lengths = {
        f"{path}:{function.lineno} {function.name}": body_lines(function)
        for path, tree in sources.items()
        for function in functions(tree)
    }
    assert {where: length for where, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_no_function_nests_deeper_than_three(sources: Sources) -> None:
    depths = {
        f"{path}:{function.lineno} {function.name}": depth(function)
        for path, tree in sources.items()
        for function in functions(tree)
    }
    assert {where: deep for where, deep in depths.items() if deep > DEEPEST} == {}


def test_docstrings_are_not_counted() -> None:
    tree = ast.parse('def documented():\n    """One.\n\n    Two.\n    """\n    return 1\n')
    assert [body_lines(function) for function in functions(tree)] == [1]


def test_an_elif_is_no_deeper_than_its_if() -> None:
    tree = ast.parse("if a:\n    pass\nelif b:\n    if c:\n        pass\n")
    assert depth(tree) == 2


def test_an_architecture_is_small(root: Path) -> None:
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in (root / "plugins" / "sd3" / "loracore_sd3").glob("*.py")
        if path.name != "demo_kit.py"
    )
    assert lines <= LARGEST_PLUGIN
