"""How many singular values of a weight change are kept when a LoRA gets smaller ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

Method: TypeAlias = Literal["sv_ratio", "sv_cumulative", "sv_fro"]


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A rule by which each module gets a rank of its own, as the field's resize tools spell it."""

    method: Method
    parameter: float

    def count(self, values: Tensor) -> int:
        """Return how many of the singular values (descending) the rule asks for."""
        if self.method == "sv_ratio":
            return int((values > values[0] / self.parameter).sum())
        cumulative = self.method == "sv_cumulative"
        weights = (values if cumulative else values.square()).double().cumsum(0)
        wanted = self.parameter if cumulative else self.parameter**2
        return int((weights / weights[-1] < wanted).sum()) + 1


@dataclass(frozen=True, slots=True)
class NewRanks:
    """The ranks that modules get at most, and the rule that may give them less."""

    linear: int  # of Linear layers and 1×1 convolutions
    conv: int  # of larger convolutions
    dynamic: Dynamic | None  # None: every module gets its whole rank

    def rank(self, values: Tensor, *, conv: bool) -> int:
        """Return the new rank of a change with these singular values, never more than there are; 1 for no change.

        A rule's count is held within [1, number of values - 1], and one is added, as in the field.
        """
        if not values[0]:
            return 1
        largest = min(self.conv if conv else self.linear, len(values))
        if self.dynamic is None:
            return largest
        return min(max(1, min(self.dynamic.count(values), len(values) - 1)) + 1, largest)
