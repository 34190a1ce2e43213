"""Who imports whom: arrows between the packages of the core never turn back, and plugins use public names alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import loracore

Sources = Mapping[Path, ast.Module]

#: What each part of the core may import of the core when it runs, beside itself. Whoever is on the right of an arrow
#: never has the left one among its own.
ARROWS: Mapping[str, frozenset[str]] = {
    "errors": frozenset(),
    "types": frozenset(),
    "noise": frozenset({"types"}),
    "hookspecs": frozenset(),
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
    "config": frozenset({"errors", "hookspecs", "plugin_faults", "plugins"}),
    "package_copies": frozenset({"errors"}),
    "collector": frozenset(),
    "plugin_packages": frozenset(),
    "plugin_faults": frozenset({"errors", "plugin_packages"}),
    "plugins": frozenset({"errors", "hookspecs", "package_copies", "plugin_faults"}),
    "plugin_notes": frozenset({"package_copies", "plugin_faults", "plugins"}),
    "trace_words": frozenset({"types"}),
    "tracing": frozenset({"errors", "plugin_faults", "trace_words"}),
    "data": frozenset({"config", "errors", "types"}),
    "memory": frozenset({"config", "errors", "types"}),
    "networks": frozenset({"config", "errors", "noise", "types"}),
    "speed": frozenset({"config", "errors", "types"}),
    "weights": frozenset({"config", "errors", "hookspecs", "networks", "types"}),
    "training": frozenset(
        {
            "collector",
            "config",
            "data",
            "errors",
            "hookspecs",
            "memory",
            "networks",
            "noise",
            "plugin_faults",
            "plugins",
            "speed",
            "types",
            "weights",
        }
    ),
    "defaults": frozenset({"config", "data", "errors", "hookspecs", "report", "training", "types"}),
    "demo": frozenset({"config", "errors", "hookspecs", "training", "types"}),
    "report": frozenset({"errors"}),
    "scaffolding": frozenset({"errors", "hookspecs", "plugins"}),
    "cli": frozenset(
        {
            "collector",
            "config",
            "data",
            "defaults",
            "demo",
            "errors",
            "hookspecs",
            "networks",
            "package_copies",
            "plugin_faults",
            "plugin_notes",
            "plugins",
            "report",
            "scaffolding",
            "tracing",
            "training",
            "types",
            "weights",
        }
    ),
    "diffusion": frozenset({"config", "errors", "hookspecs", "networks", "noise", "types", "weights"}),
}
#: Parts that stand beside the core: building blocks for plugins, and what tests of plugins need.
BESIDE = frozenset({"diffusion", "testing"})
#: What plugins may import, beside the names of ``loracore`` itself.
PUBLIC_PACKAGES = ("loracore.noise", "loracore.weights", "loracore.networks", "loracore.diffusion", "loracore.testing")
HEAVY = frozenset({"torch", "diffusers", "transformers", "accelerate"})


@dataclass(frozen=True, slots=True)
class Import:
    """One import: from where, and whether it happens at run time and at the module's top."""

    path: Path
    line: int
    name: str  # "torch.nn", "loracore.types.Batch"
    runs: bool
    at_top: bool

    @property
    def part(self) -> str:
        """Return the part of the core that is imported, an empty text for the public names of ``loracore`` itself."""
        words = self.name.split(".")
        return words[1] if len(words) > 1 and (words[1] in ARROWS or words[1] in BESIDE) else ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


def imports(path: Path, tree: ast.Module) -> Iterator[Import]:
    """Give every import of a module, those for type checkers and inside functions too."""
    for node, runs, at_top in _walk(tree, runs=True, at_top=True):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert not node.level, f"{path}:{node.lineno}: imports here are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (Import(path, node.lineno, name, runs, at_top) for name in names)


def _walk(node: ast.AST, *, runs: bool, at_top: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, runs, at_top
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(child, runs=False, at_top=at_top)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, runs=runs, at_top=at_top and not function)


def every(sources: Sources) -> list[Import]:
    return [found for path, tree in sources.items() for found in imports(path, tree)]


def part_of(path: Path) -> str:
    """Return the part of the core that a file belongs to: ``loracore/data/index.py`` is of "data"."""
    return path.parts[1].removesuffix(".py")


def root_of(name: str) -> str:
    return name.partition(".")[0]


def lines(found: list[Import]) -> list[str]:
    return sorted(map(str, found))


def test_the_arrows_never_turn_back() -> None:
    def reached(part: str) -> set[str]:
        return set(ARROWS[part]).union(*(reached(other) for other in ARROWS[part]))

    assert [part for part in ARROWS if part in reached(part)] == []


def test_every_part_of_the_core_has_its_arrows(core: Sources) -> None:
    assert {part_of(path) for path in core} <= {*ARROWS, *BESIDE}


def test_parts_of_the_core_import_along_the_arrows(core: Sources) -> None:
    wrong = [
        found
        for found in every(core)
        if found.runs and root_of(found.name) == "loracore" and part_of(found.path) != "testing" and not _allowed(found)
    ]
    assert lines(wrong) == []


def _allowed(found: Import) -> bool:
    part = part_of(found.path)
    if found.part == "":  # the public names, whose homes are looked up when they are used
        return found.name == "loracore" or found.name.removeprefix("loracore.") in loracore.__all__
    return found.part == part or found.part in ARROWS[part]


def test_stages_and_errors_import_nothing_of_ours_even_for_type_checkers(core: Sources) -> None:
    alone = {"errors", "types"}
    wrong = [found for found in every(core) if part_of(found.path) in alone and root_of(found.name) == "loracore"]
    assert lines(wrong) == []


def test_noise_imports_torch_and_of_ours_the_stages_alone(core: Sources) -> None:
    known = {"torch", *sys.stdlib_module_names}
    wrong = [
        found
        for found in every(core)
        if part_of(found.path) == "noise" and root_of(found.name) not in known and found.part not in {"noise", "types"}
    ]
    assert lines(wrong) == []


def test_nothing_that_a_run_is_made_of_knows_the_run(core: Sources) -> None:
    run = Path("loracore/training/run.py")
    seen: set[Path] = set()
    waiting = {run}
    while waiting:
        path = waiting.pop()
        found = {_file(one.name) for one in imports(path, core[path]) if one.part == "training"} & core.keys()
        assert run not in found, path  # not even for type checkers
        seen.add(path)
        waiting |= found - seen
    assert Path("loracore/training/state/content.py") in seen


def _file(name: str) -> Path:
    """Return the file that something is imported from: ``loracore.types.Batch`` is of ``loracore/types.py``."""
    return Path(*name.split(".")[:-1]).with_suffix(".py")


def test_the_core_knows_no_plugin_and_no_library_of_models(core: Sources) -> None:
    wrong = [
        found
        for found in every(core)
        if part_of(found.path) not in BESIDE
        and (
            root_of(found.name) in {"diffusers", "transformers"}
            or found.name.startswith("loracore_")
            or found.part in BESIDE
        )
    ]
    assert lines(wrong) == []


def test_building_blocks_know_no_plugin(core: Sources) -> None:
    assert lines([found for found in every(core) if found.name.startswith("loracore_")]) == []


def test_plugins_import_public_names_and_never_one_another(plugins: Sources, strangers: Sources) -> None:
    wrong = [
        found
        for found in every({**plugins, **strangers})
        if root_of(found.name).startswith("loracore") and not _public(found)
    ]
    assert lines(wrong) == []


def _public(found: Import) -> bool:
    if found.name.startswith("loracore_"):
        return root_of(found.name) in found.path.parts
    name = found.name.removeprefix("loracore.")
    return name in loracore.__all__ or any(f"{found.name}.".startswith(f"{home}.") for home in PUBLIC_PACKAGES)


def test_strangers_use_nothing_but_what_is_promised_to_them(strangers: Sources) -> None:
    promised = ("loracore.noise", "loracore.networks")
    wrong = [
        found
        for found in every(strangers)
        if root_of(found.name) == "loracore"
        and found.name.removeprefix("loracore.") not in loracore.__all__
        and not found.name.startswith(promised)
    ]
    assert lines(wrong) == []


def test_every_public_name_is_there() -> None:
    assert [name for name in loracore.__all__ if getattr(loracore, name) is None] == []


def test_entry_modules_and_option_tables_import_no_torch_at_their_top(core: Sources, plugins: Sources) -> None:
    light = {"errors", "types", "hookspecs", "plugins", "plugin_faults", "plugin_notes", "package_copies", "tracing"}
    light |= {"trace_words", "plugin_packages", "config", "defaults", "cli"}
    wrong = [
        found
        for found in every({**core, **plugins})
        if found.runs and found.at_top and root_of(found.name) in HEAVY and _is_light(found.path, light)
    ]
    assert lines(wrong) == []


def _is_light(path: Path, light: set[str]) -> bool:
    return part_of(path) in light if path.parts[0] == "loracore" else path.name in {"__init__.py", "options.py"}


@pytest.mark.parametrize(
    "module",
    [
        "loracore",
        "loracore.cli.main",
        "loracore.cli.train",
        "loracore.defaults",
        "loracore_sdxl",
        "loracore_networks.lora",
    ],
)
def test_options_cost_no_torch(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split() == []
