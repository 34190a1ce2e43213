"""Adapters that do not move, although a run trains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.networks.network import Network

#: Steps after which somebody looks for the first time; long enough for a warm-up to leave 0, and the last look is at
#: the end.
FIRST_LOOK = 48

#: By the bytes of an element.
_WORDS: Mapping[int, torch.dtype] = MappingProxyType({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64})
_NAMED = 3  # keys in a note


@dataclass(frozen=True, eq=False, slots=True)
class _Trained:
    key: str  # of the target
    parameter: nn.Parameter


class Movement:
    """The trained tensors of a network as they were when training began, by a checksum of each.

    Nobody waits for the device before notes are asked for. Places whose output is never used (``expected_unused``) are
    left out: they get no gradient.
    """

    def __init__(self, network: Network, optimizer: Optimizer) -> None:
        moved = {id(one) for group in optimizer.param_groups for one in group["params"]}
        self._trained = [
            _Trained(entry.target.key, parameter)
            for entry in network.entries
            if not entry.target.expected_unused
            for parameter in entry.adapter.trained_parameters()
            if id(parameter) in moved
        ]
        self._first_step = 0
        self._start: Tensor | None = None

    def begin(self, taken: int) -> None:
        """Keep in mind what the tensors are now, ``taken`` steps being behind the run."""
        self._first_step, self._start = taken, checksums([one.parameter for one in self._trained])

    def due(self, step: int) -> bool:
        """Tell whether it is time for the first look."""
        return step == self._first_step + FIRST_LOOK

    def notes(self, step: int, *, largest_rate: float, all_skipped: bool) -> Iterator[str]:
        """Give what is to be said after ``step``: which share has not moved at all, and why that can be.

        Waits for the device. ``largest_rate`` is the highest learning rate that the options give, whatever its course
        makes of it; ``all_skipped`` tells that no step since ``begin`` was applied.
        """
        taken = step - self._first_step
        if self._start is None or not taken:
            return
        same = (checksums([one.parameter for one in self._trained]) == self._start).tolist()
        still = [one for one, is_still in zip(self._trained, same, strict=True) if is_still]
        if not still:
            return
        keys = list(dict.fromkeys(one.key for one in still))
        more = f" and {len(keys) - _NAMED} more modules" if len(keys) > _NAMED else ""
        yield (
            f"{len(still)} of {len(self._trained)} trained tensors have not changed at all in {taken} steps "
            f"({', '.join(keys[:_NAMED])}{more}): {_reason(still, largest_rate, all_skipped=all_skipped)}"
        )


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Return one number for each tensor (N, int64), on the device: the sum of its bits, read as integers.

    Exact, where a sum of the numbers would lose the small changes of training to rounding.
    """
    words = [one.detach().contiguous().view(_WORDS[one.element_size()]) for one in tensors]
    return torch.stack([one.sum(dtype=torch.int64) for one in words])


def _reason(still: Sequence[_Trained], largest_rate: float, *, all_skipped: bool) -> str:
    """Return the likeliest reason, and what to do."""
    if all_skipped:
        return "every step was skipped, its loss or gradient not being finite"
    if largest_rate == 0:
        return "the learning rate is 0"
    half = next((one.parameter.dtype for one in still if one.parameter.dtype in (torch.bfloat16, torch.float16)), None)
    if half is not None:
        kind = "bf16" if half == torch.bfloat16 else "fp16"
        lost = f"in {kind} a step smaller than {torch.finfo(half).eps:.1g} of a weight is lost to rounding"
        return f"{lost}; drop full_{kind}, or raise the learning rate (now {largest_rate:g})"
    if largest_rate < torch.finfo(torch.float32).eps:
        return f"the learning rate of {largest_rate:g} is too small for float32; raise it"
    return "no gradient reaches them; their layers are not used by the model, or network_multiplier is 0"
