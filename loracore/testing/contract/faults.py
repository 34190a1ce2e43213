"""What a plugin gets wrong: the hook, the place in its file, and what to do about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from loracore.plugin_packages import belongs, file_of


@dataclass(frozen=True, slots=True)
class Fault:
    """One breach of the contract.

    ``hook`` is the hook's name, or another part of a plugin ("import", "options of ToyOptions"); ``where`` is
    ``file:line`` of the plugin's own code; ``fix`` tells what to change.
    """

    hook: str
    where: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.hook} ({self.where}): {self.message}; {self.fix}"


class ContractError(AssertionError):
    """A plugin breaks the contract; ``faults`` has everything that was found."""

    def __init__(self, plugin: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{plugin} breaks the contract of plugins:\n{lines}")


class CannotGoOn(Exception):  # noqa: N818  # it is caught where faults are gathered: nobody else sees it
    """A fault after which a check has nothing to look at."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def gathered(*checks: Callable[[], Iterable[Fault]]) -> list[Fault]:
    """Return what these checks find, each fault once; one that cannot go on ends with its reason."""
    found: dict[Fault, None] = {}
    for check in checks:
        try:
            for fault in check():
                found[fault] = None
        except CannotGoOn as end:
            found[end.fault] = None
    return list(found)


@contextmanager
def any_error_is(fault_of: Callable[[Exception], Fault]) -> Iterator[None]:
    """Have whatever is raised here end the check with the fault that is made of it: a stranger's code may raise it.

    The CannotGoOn has the exception as its cause.
    """
    try:
        yield
    except Exception as error:
        raise CannotGoOn(fault_of(error)) from error


def place(code: Callable[..., Any] | type | object) -> str:
    """Return ``file:line`` of a function or class, or the file of a module."""
    source = inspect.getsourcefile(inspect.unwrap(code) if callable(code) else code)  # type: ignore[arg-type]
    try:
        line = inspect.getsourcelines(code)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):  # made by exec, or of a module whose file is gone
        line = 0
    return _written(Path(source) if source else None, line)


def raised_at(error: BaseException, module: str) -> str:
    """Return ``file:line`` of the innermost line of a plugin that an exception went through.

    ``module`` is the plugin's; what lies beside it in its package is its own too. An exception that never was there is
    placed in the module's file.
    """
    file = file_of(module)
    if isinstance(error, SyntaxError) and error.filename:
        return _written(Path(error.filename), error.lineno or 0)
    found = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(error.__traceback__)]
    own = [(path, line) for path, line in found if file is not None and belongs(path, file, module)]
    return _written(*own[-1]) if own else _written(file, 0)


def _written(path: Path | None, line: int) -> str:
    if path is None:
        return "?"
    name = f"{path.parent.name}/{path.name}" if path.name == "__init__.py" else path.name
    return f"{name}:{line}" if line else name
