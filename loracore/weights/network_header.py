"""The header of a network's file, and what it tells that is wrong with the modules; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from loracore.errors import DataError, Problem
from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.weights.headers import BASE_VERSION, Header, Shape, is_pickle, read_header
from loracore.weights.inspect.network_modules import DORA, LORA, TUCKER, UNKNOWN, Module, network_modules

_SHOWN = 3
#: Tensors beside alpha that are no factors: a switch of IA3's, and a shape.
_NOTES = frozenset({ALPHA, "on_input", "reshape_weight"})
_FIX = "download it again, or give another file"


def network_header(path: Path) -> Header:
    """Return the header of a file of tensors; raises DataError for pickles, other formats, and a file without any."""
    if is_pickle(path) and path.is_file():
        message = "this is a pickle, which can hold code that runs when it is read"
        raise DataError(message, where=str(path), fix="save it as .safetensors first")
    header = read_header(path)
    if not header.shapes:
        raise DataError("the file holds no tensors", where=str(path), fix="give a LoRA file, or one of another network")
    return header


def check_modules(header: Header) -> None:
    """Raise DataError for modules that are damaged or not whole."""
    problems = [*damaged(header), *incomplete(header)]
    if problems:
        raise DataError.of(problems)


def other_architecture(said: Mapping[str, str], own: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what two headers call their models where both do and differ; None where they agree or one is silent.

    Of the two entries, trainers spell that of the model specification more alike.
    """
    for name in ("modelspec.architecture", BASE_VERSION):
        first, second = (one.get(name, "").partition("/")[0] for one in (said, own))
        if first and second:
            return None if first == second else (first, second)
    return None


def damaged(header: Header) -> list[Problem]:
    """Return what keeps modules from being read, a few of it: empty factors, whole numbers, ranks that differ."""
    modules = network_modules(header.shapes)
    found = [problem for module in modules if module.kind != UNKNOWN for problem in _of_module(module, header)]
    return found[:_SHOWN]


def incomplete(header: Header) -> list[Problem]:
    """Return the modules, a few of them, that have one factor of a LoRA without the other."""
    halves = ((module, set(module.tensors) & {DOWN, UP}) for module in network_modules(header.shapes))
    return [
        _problem(header, f"{module.name} has no {_lacking(module, *half)}") for module, half in halves if len(half) == 1
    ][:_SHOWN]


def _of_module(module: Module, header: Header) -> Iterator[Problem]:
    shapes = {tail: header.shapes[name] for tail, name in module.tensors.items()}
    for tail, name in module.tensors.items():
        shape, dtype = shapes[tail], header.dtypes.get(name, "F32")
        if 0 in shape:
            yield _problem(header, f"{name} has shape {list(shape)}")
        elif tail == ALPHA and max(shape, default=1) > 1:
            yield _problem(header, f"{name} has shape {list(shape)}, not a single number")
        elif tail not in _NOTES and not dtype.startswith(("F", "BF")):  # F16, BF16, F8_E4M3, …
            yield _problem(header, f"{name} holds whole numbers ({dtype})")
    if module.kind in {LORA, TUCKER, DORA} and not _fit(shapes):
        tails = [tail for tail in (UP, MID, DOWN) if tail in shapes]
        factors = ", ".join(f"{_tail(module, tail)} {list(shapes[tail])}" for tail in tails)
        yield _problem(header, f"{module.name}: {factors} do not fit one another")


def _tail(module: Module, kind: str) -> str:
    """Return what a tensor is called in the file behind its module."""
    return module.tensors[kind].removeprefix(f"{module.name}.")


def _lacking(module: Module, half: str) -> str:
    """Return what the other factor is called in the file."""
    tail = _tail(module, half)
    old, new = ("lora_A", "lora_B") if "lora_A" in tail else ("lora_B", "lora_A")
    if old not in tail:
        old, new = ("down", "up") if half == DOWN else ("up", "down")
    return tail.replace(old, new)


def _fit(shapes: Mapping[str, Shape]) -> bool:
    """Tell whether the ranks of up (outputs, a, …), mid (a, b, …) and down (b, inputs, …) are the same."""
    up, mid, down = shapes[UP], shapes.get(MID), shapes[DOWN]
    between = (*down[:1], *down[:1]) if mid is None else mid[:2]
    return min(len(up), len(down)) > 1 and (up[1], down[0]) == between


def _problem(header: Header, message: str) -> Problem:
    return Problem(f"{message}: the file is damaged", str(header.path), _FIX)
