"""Names that the house keeps out: architectures in the core, files named after nothing, state that everybody shares."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

Sources = Mapping[Path, ast.Module]

ARCHITECTURES = re.compile(r"sdxl|sd3|flux", re.IGNORECASE)
NAMED_AFTER_NOTHING = re.compile(
    r"(utils?|commons?|helpers?|misc|managers?)(_.*)?|.*_(utils?|common|helpers?|misc|manager)"
)
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MAKES_MUTABLE = frozenset({"list", "dict", "set", "defaultdict", "deque", "OrderedDict", "Counter"})
#: Where Python wants a list, and nobody changes it.
PYTHONS_OWN = frozenset({"__all__"})


@pytest.fixture(scope="session")
def sources(core: Sources, plugins: Sources) -> Sources:
    return {**core, **plugins}


def test_the_core_names_no_architecture(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{number}"
        for path in sorted((root / "loracore").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
        for number, line in enumerate([path.name, *path.read_text(encoding="utf-8", errors="replace").splitlines()])
        if ARCHITECTURES.search(line)
    ]
    assert found == []


def test_every_file_is_named_after_what_it_holds(sources: Sources) -> None:
    assert [str(path) for path in sources if NAMED_AFTER_NOTHING.fullmatch(path.stem)] == []


def test_tests_are_named_after_what_they_test(root: Path) -> None:
    names = [path.stem.removeprefix("test_") for path in (root / "tests").rglob("*.py")]
    assert [name for name in names if NAMED_AFTER_NOTHING.fullmatch(name)] == []


def test_no_function_reaches_for_a_global(sources: Sources) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
    ]
    assert found == []


def test_no_module_holds_what_its_functions_could_change(sources: Sources) -> None:
    found = [f"{path}:{line} {name}" for path, tree in sources.items() for line, name in shared_state(tree)]
    assert found == []


def shared_state(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give the mutable values that a module holds under a name.

    A literal under a name in capitals is a constant: type checkers see it as Mapping or Sequence, reviewers do the
    rest. An empty one is no constant, whatever its name: it waits to be filled.
    """
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from ((node.lineno, name) for name in names if _changes(name, node.value))


def _changes(name: str, value: ast.expr) -> bool:
    if name in PYTHONS_OWN:
        return False
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in MAKES_MUTABLE
    if not isinstance(value, MUTABLE):
        return False
    return name != name.upper() or ast.unparse(value) in {"[]", "{}"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cache = {1: 2}", ["cache"]),
        ("CACHE: dict[str, int] = {}", ["CACHE"]),
        ("FOUND = []", ["FOUND"]),
        ("SEEN = set()", ["SEEN"]),
        ("NAMES = ('a', 'b')\n_HOMES = {'a': 1}\n__all__ = ['a']", []),
        ("def f():\n    found = []", []),
    ],
)
def test_shared_state_is_found_where_it_is(source: str, expected: list[str]) -> None:
    assert [name for _, name in shared_state(ast.parse(source))] == expected


def test_only_the_command_line_reads_the_environment(sources: Sources) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        if path.parts[1] != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]
    assert found == []


def test_no_attribute_is_asked_for_that_may_be_missing(sources: Sources) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) == 3
    ]
    assert found == []
