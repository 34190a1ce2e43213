"""How much of a network's change low-rank factors keep, module by module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_SHOWN = 3


@dataclass(eq=False, slots=True)
class Shares:
    """Squared norms of changes and of what factors leave out of them; filled while the modules are made."""

    whole: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, float] = field(default_factory=dict)

    def note(self, module: str, whole: float, left_out: float) -> None:
        """Note one module."""
        self.whole[module], self.left_out[module] = whole, left_out

    def kept(self) -> float:
        """Return the share of the whole change that is kept: 1 - Σ‖left out‖² / Σ‖change‖²."""
        whole = sum(self.whole.values())
        return 1 - sum(self.left_out.values()) / whole if whole else 1.0

    def lines(self) -> Iterator[str]:
        """Give the share of all modules together, and the modules that keep the least."""
        yield f"{self.kept():.2%} of the change is kept (squared norm)"
        shares = {module: 1 - self.left_out[module] / whole for module, whole in self.whole.items() if whole}
        for module in sorted(shares, key=shares.__getitem__)[:_SHOWN]:
            yield f"  {module}: {shares[module]:.2%}"
