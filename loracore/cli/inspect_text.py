"""What ``loracore inspect`` prints: lines for people, an object for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from loracore.errors import printable
from loracore.weights.inspect.header_notes import folders, grouped, top_tags

if TYPE_CHECKING:
    from loracore.weights.inspect.inspecting import Inspection, ModuleFigures

_TAGS = 10
_SHOWN = 3  # of the largest and the smallest modules
_NAMED = 8  # of modules and tensors that something is wrong with
_LETTERS = 90  # of a header's value
#: Told in other words, or too long for a line.
_LONG = frozenset({"ss_datasets", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_tag_frequency", "ss_bucket_info"})


def as_object(found: Inspection) -> dict[str, object]:
    """Return everything as JSON has it; numbers that are not finite do not occur."""
    return {
        "file": str(found.path),
        "size": found.size,
        "dtypes": found.dtypes(),
        "kinds": dict(Counter(module.kind for module in found.modules)),
        "parts": {part: len(modules) for part, modules in found.by_part().items()},
        "modules": [_finite(asdict(module)) for module in found.modules],
        "blocks": [asdict(block) for block in found.blocks()],
        "dead": list(found.dead),
        "not_finite": [one.name for one in found.tensors if one.bad],
        "tiny_or_huge": {one.name: one.odd for one in found.tensors if one.odd},
        "tensors": [asdict(one) for one in found.tensors],
        "metadata": grouped(found.metadata),
        "folders": [asdict(folder) for folder in folders(found.metadata)],
        "tags": dict(top_tags(found.metadata, _TAGS)),
        "hash_matches": found.hash_matches,
        "notes": list(found.notes),
    }


def lines(found: Inspection) -> Iterator[str]:
    """Give the lines, what is broken at the end, where it is seen."""
    yield _row("file", found.path)
    yield _row("size", f"{found.size / 2**20:.1f} MiB")
    yield _row("dtypes", _counts(found.dtypes().items()))
    yield _row("modules", _counts((part or "network", len(modules)) for part, modules in found.by_part().items()))
    yield _row("kinds", _counts(Counter(module.kind for module in found.modules).items()))
    for part, modules in found.by_part().items():
        yield _row(f"ranks {part}".strip(), _ranks(modules))
    yield from _header(found)
    yield from _norms(found)
    yield from (_row("note", note) for note in found.notes)
    yield from _faults(found)


def _header(found: Inspection) -> Iterator[str]:
    if not found.metadata:
        yield _row("header", "empty: nothing is said of the training")
    for group, keys in grouped(found.metadata).items():
        yield f"{group}:"
        yield from (f"  {name}  {_short(value)}" for name, value in keys.items() if name not in _LONG)
        if group == "data sets":
            yield from _data(found)
        if found.hash_matches is not None and group == "hashes":
            fits = "matches the content" if found.hash_matches else "DOES NOT MATCH: the content was changed afterwards"
            yield f"  sshs_model_hash {fits}"


def _data(found: Inspection) -> Iterator[str]:
    for folder in folders(found.metadata):
        yield f"  {printable(folder.name)}: {folder.pictures} pictures × {folder.repeats}"
    tags = top_tags(found.metadata, _TAGS)
    if tags:
        yield "  most frequent tags: " + ", ".join(f"{_short(tag)} {count}" for tag, count in tags)


def _norms(found: Inspection) -> Iterator[str]:
    part = None
    for block in found.blocks():
        if block.part != part:
            part = block.part
            yield f"norms of the change, {part or 'network'}:"
        yield f"  {printable(block.block):40} {block.norm:9.4g}  largest module {block.largest:.4g}, of {block.modules}"
    told = sorted((one for one in found.modules if one.norm is not None), key=lambda one: one.norm or 0.0)
    if told:
        yield _row("norm of all", f"{math.hypot(*(one.norm or 0.0 for one in told)):.4g}")
        yield _row("largest", _modules(told[: -_SHOWN - 1 : -1]))
        alive = [one for one in told if one.norm]
        yield _row("smallest", _modules(alive[:_SHOWN]))
    silent = sum(one.norm is None and one.finite for one in found.modules)
    if silent:
        yield _row("without norm", f"{silent} modules, whose change depends on the base model or is of an unknown kind")


def _faults(found: Inspection) -> Iterator[str]:
    yield from _named("DEAD", "modules change nothing", found.dead)
    odd = [f"{one.name} ({one.odd})" for one in found.tensors if one.odd]
    yield from _named("ODD", "tensors are tiny or huge", odd)
    broken = [f"{one.name} ({one.bad} numbers are NaN or infinite)" for one in found.tensors if one.bad]
    yield from _named("BROKEN", "tensors are not finite: use an earlier save", broken)


def _named(mark: str, what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"{mark}: {len(names)} {what}"
        yield from (f"  {printable(name)}" for name in names[:_NAMED])
    if len(names) > _NAMED:
        yield f"  and {len(names) - _NAMED} more (--json names all)"


def _ranks(modules: Sequence[ModuleFigures]) -> str:
    """Return how many modules have which rank and alpha, most of them first, then the largest rank."""
    counts = Counter((module.rank, module.alpha) for module in modules)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], -(each[0][0] or 0)))
    shown = ", ".join(
        f"{'no rank' if rank is None else rank} alpha {'not given' if alpha is None else f'{alpha:g}'} × {count}"
        for (rank, alpha), count in ordered[:_NAMED]
    )
    more = f", and {len(counts) - _NAMED} more kinds" if len(counts) > _NAMED else ""
    return f"mixed: {shown}{more}" if len(counts) > 1 else shown


def _modules(modules: Iterable[ModuleFigures]) -> str:
    return ", ".join(f"{printable(module.name)} {module.norm:.4g}" for module in modules) or "none"


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{printable(name)} {count}" for name, count in counts)


def _row(name: str, value: object) -> str:
    return f"{printable(name):14} {printable(str(value))}"


def _short(value: str) -> str:
    found = printable(value)
    return found if len(found) <= _LETTERS else f"{found[:_LETTERS]}… ({len(value)} letters)"


def _finite(figures: dict[str, object]) -> dict[str, object]:
    """Return a module's figures as JSON can hold them: it has no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
