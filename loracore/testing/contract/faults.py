"""What a plugin gets wrong: the hook, the place in its file, and what to do about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def place(code: Callable[..., Any] | type | object) -> str:
    """Return ``file:line`` of a function or class, or the file of a module."""
    source = inspect.getsourcefile(inspect.unwrap(code) if callable(code) else code)  # type: ignore[arg-type]
    try:
        line = inspect.getsourcelines(code)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):  # made by exec, or of a module whose file is gone
        line = 0
    return f"{Path(source).name if source else '?'}" + (f":{line}" if line else "")
