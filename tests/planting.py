"""A plugin with pieces of its source replaced, installed for a test, and what its contract check says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from loracore.plugins import Kind
from loracore.testing import ContractError

#: Installs a plugin of this kind, its modules by name: the first one has the hooks, the function checks it by its name.
Plant = Callable[[Kind, Mapping[str, str], Callable[[str], None]], "Planted"]


@dataclass(frozen=True, eq=False, slots=True)
class Planted:
    """An installed plugin named "planted", written anew for every check."""

    kind: Kind
    site: Path
    sources: Mapping[str, str]  # by module
    check: Callable[[str], None]

    def passes(self, *changes: tuple[str, str], more: str = "") -> None:
        """Check it with pieces of its source replaced, each of which is there once, and ``more`` behind its hooks."""
        sources = dict(self.sources)
        for old, new in changes:
            assert sum(source.count(old) for source in sources.values()) == 1
            sources = {name: source.replace(old, new) for name, source in sources.items()}
        sources[next(iter(sources))] += more
        for name, source in sources.items():
            (self.site / f"{name}.py").write_text(source, encoding="utf-8")
        self.check("planted")

    def __call__(self, *changes: tuple[str, str], more: str = "") -> ContractError:
        """Return what is said of it then."""
        with pytest.raises(ContractError) as caught:
            self.passes(*changes, more=more)
        assert str(caught.value).startswith(f"{self.kind} 'planted' (loracore-planted 0.3) breaks the contract")
        return caught.value


def assert_told_at(where: str, error: ContractError, hook: str, *words: str) -> None:
    """Look for a fault of this hook that says these words; all of its faults are at places of this pattern."""
    own = [str(fault) for fault in error.faults if fault.hook == hook]
    assert any(all(word in said for word in words) for said in own), str(error)
    assert all(re.search(rf"\({where}\)", said) for said in own), str(error)
