"""Write what docs/hooks.md says of hooks and types, from their specifications; ``--check`` compares.

The page's own words stay as they are: only what stands between the marks is made.
"""
# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from loracore import hookspecs
from loracore.defaults import DEFAULT_PLUGINS

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "hooks.md"

#: Where the types are, in the order of the page; of some modules only these.
TYPES: Mapping[str, tuple[str, ...]] = {
    "loracore/types.py": (),
    "loracore/noise/rng.py": ("SampleRng",),
    "loracore/config/config.py": ("Finding",),
    "loracore/weights/layout.py": ("PartNames", "FileTensor"),
    "loracore/networks/adapter.py": ("Adapter",),
}
#: A heading of the specification: a comment between dashes; what stands behind ";" is left out.
GROUP = re.compile(r"^# -{4} ([^;\n]+?)(?:;.*)? -+$", re.MULTILINE)
#: Longest signature on one line.
WIDTH = 110


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook as its specification has it."""

    name: str
    group: str  # the heading that it stands under
    arguments: tuple[str, ...]
    signature: tuple[str, ...]  # "config: Config", …
    returns: str
    doc: str
    first_answer_counts: bool

    @property
    def heading(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"

    @property
    def answered_by(self) -> str:
        found = re.search(r"Answered by ([\w ]+)", " ".join(self.doc.split()))
        return found.group(1) if found else "everybody is told"

    @property
    def defaults(self) -> dict[str, str]:
        """The core's own plugins that implement it, and the first line of what they say of that."""
        found = {}
        for module in DEFAULT_PLUGINS:
            function = vars(module).get(self.name)
            if isinstance(function, FunctionType) and "loracore_impl" in vars(function):
                doc = (inspect.getdoc(function) or "").partition("\n")[0]
                found[module.__name__] = doc[:1].lower() + doc[1:].rstrip(".")
        return found


def hooks() -> list[Hook]:
    """Return every hook, in the order of the specification."""
    source = (ROOT / "loracore" / "hookspecs.py").read_text(encoding="utf-8")
    groups = [(found.start(), found.group(1)) for found in GROUP.finditer(source)]
    starts = [(source.count("\n", 0, start) + 1, title) for start, title in groups]
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [_hook(node, source, [title for line, title in starts if line < node.lineno][-1]) for node in nodes]


def _hook(node: ast.FunctionDef, source: str, group: str) -> Hook:
    counts = vars(vars(hookspecs)[node.name])["loracore_spec"]["firstresult"]
    return Hook(
        name=node.name,
        group=group[0].upper() + group[1:],
        arguments=tuple(argument.arg for argument in node.args.args),
        signature=tuple(f"{argument.arg}: {_text(argument.annotation, source)}" for argument in node.args.args),
        returns=_text(node.returns, source),
        doc=ast.get_docstring(node) or "",
        first_answer_counts=bool(counts),
    )


def _text(node: ast.expr | None, source: str) -> str:
    """Return an expression as it was written, on one line."""
    return "" if node is None else " ".join((ast.get_source_segment(source, node) or "").split())


def answers() -> Iterator[str]:
    """Give the table of who answers which hook."""
    yield "| Hook | Answered by | Without an answer |"
    yield "|---|---|---|"
    for hook in hooks():
        anchor = re.sub(r"[^\w -]", "", hook.heading.lower()).replace(" ", "-")
        yield f"| [`{hook.name}`](#{anchor}) | {hook.answered_by} | {_otherwise(hook)} |"


def _otherwise(hook: Hook) -> str:
    if not hook.first_answer_counts:
        return "nothing" if hook.returns == "None" else "nothing is added"
    default = next(iter(hook.defaults.values()), "")
    return f"the core: {default}" if default else "an error before anything is loaded"


def sections() -> Iterator[str]:
    """Give a section for every hook, under the headings of the specification."""
    group = ""
    for hook in hooks():
        if hook.group != group:
            group = hook.group
            yield f"## {group}\n"
        yield f"### {hook.heading}\n"
        yield f"```python\n{_signature(hook)}\n```\n"
        yield f"*{_counting(hook)}*\n"
        yield f"{_prose(hook.doc)}\n"


def _signature(hook: Hook) -> str:
    line = f"def {hook.name}({', '.join(hook.signature)}) -> {hook.returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"def {hook.name}(", *(f"    {one}," for one in hook.signature), f") -> {hook.returns}"])


def _counting(hook: Hook) -> str:
    names = ", ".join(f"`{name.removeprefix('loracore.')}`" for name in hook.defaults)
    if hook.first_answer_counts:
        default = next(iter(hook.defaults.values()), "")
        return "The first answer counts. " + (
            f"Without another, the core's (in {names}): {default}."
            if default
            else "When nobody answers, that is an error before anything is loaded."
        )
    said = "Told to everybody; nothing is returned." if hook.returns == "None" else "Everybody's answer is taken."
    return f"{said} In the core: {names}." if names else said


def _prose(doc: str) -> str:
    """Return a docstring as Markdown: code in single backticks, documents as links."""
    return re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", doc.replace("``", "`"))


def types() -> Iterator[str]:
    """Give a section for every type that hooks take and return."""
    for path, wanted in TYPES.items():
        source = (ROOT / path).read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and (node.name in wanted or not wanted):
                yield f"### {node.name}\n"
                yield f"{_prose(ast.get_docstring(node) or '')}\n"
                yield from _fields(node, source)
                yield from _methods(node)


def _fields(node: ast.ClassDef, source: str) -> Iterator[str]:
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    if fields:
        yield "| Field | Type | |"
        yield "|---|---|---|"
        for field in fields:
            default = _text(field.value, source).replace("field(default_factory=dict)", "{}")
            declared = _text(field.annotation, source) + (f" = {default}" if default else "")
            yield _row(f"`{_text(field.target, source)}`", f"`{declared}`", _comment(field, source.splitlines()))
        yield ""


def _comment(field: ast.AnnAssign, lines: list[str]) -> str:
    """Return the comment behind a field, or that above it."""
    _, mark, behind = lines[(field.end_lineno or field.lineno) - 1][field.end_col_offset or 0 :].partition("# ")
    if mark:
        return _prose(behind)
    above: list[str] = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.lstrip().startswith(("#: ", "# ")):
            break
        above.insert(0, line.lstrip().lstrip("#: "))
    return _prose(" ".join(above))


def _methods(node: ast.ClassDef) -> Iterator[str]:
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
    if methods:
        yield "| Method | |"
        yield "|---|---|"
        for method in methods:
            doc = (ast.get_docstring(method) or "").partition("\n\n")[0].replace("\n", " ")
            yield _row(f"`{_called(method)}`", _prose(doc))
        yield ""


def _called(method: ast.FunctionDef) -> str:
    if any(isinstance(one, ast.Name) and one.id == "property" for one in method.decorator_list):
        return method.name
    starred = [] if method.args.vararg is None else [f"*{method.args.vararg.arg}"]
    names = [argument.arg for argument in method.args.args[1:]]
    return f"{method.name}({', '.join([*names, *starred])})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("  |", " |")


def page(current: str) -> str:
    """Return the page with what stands between its marks made anew."""
    for name, lines in {"answers": answers(), "hooks": sections(), "types": types()}.items():
        made = "\n".join(lines).strip()
        pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        current, count = pattern.subn(lambda found, made=made: f"{found[1]}\n{made}\n\n{found[2]}", current)  # type: ignore[misc]
        if count != 1:
            message = f"docs/hooks.md has {count} places for {name}, not one"
            raise SystemExit(message)
    return current


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` say whether it is up to date."""
    current = TARGET.read_text(encoding="utf-8")
    made = page(current)
    if arguments == ["--check"]:
        if current != made:
            sys.stderr.write("docs/hooks.md is not up to date: python docs/make_hooks.py\n")
        return 0 if current == made else 1
    TARGET.write_text(made, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
