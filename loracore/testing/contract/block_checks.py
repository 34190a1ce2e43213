"""The blocks that ``load_models`` lists: in the order in which a part runs through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.faults import Fault
from loracore.testing.contract.probing import Question
from loracore.types import Models


def order_faults(bench: Bench, models: Models, question: Question) -> Iterator[Fault]:
    """Ask a hook that runs through these models, and give the parts whose blocks it meets in another order.

    Blocks that this call leaves out are not looked at.
    """
    entered: dict[nn.Module, None] = {}
    given: Mapping[str, Sequence[Any]] = models.blocks  # whatever a stranger lists
    listed = {one for blocks in given.values() for one in blocks if isinstance(one, nn.Module)}
    handles = [block.register_forward_pre_hook(_noting(entered)) for block in listed]
    try:
        question.put(bench)
    finally:
        for handle in handles:
            handle.remove()
    for part, blocks in models.blocks.items():
        run = [block for block in entered if block in blocks]
        listed_run = [block for block in blocks if block in entered]
        if run != listed_run:
            place = next(
                number for number, pair in enumerate(zip(run, listed_run, strict=False)) if pair[0] is not pair[1]
            )
            message = f"Models.blocks of {part} are not in the order in which they run, from number {place} on"
            fix = "list them in execution order: block swap brings the next ones before they are needed"
            yield bench.fault("load_models", message, fix)


def _noting(entered: dict[nn.Module, None]) -> Callable[[nn.Module, object], None]:
    return partial(_note, entered)


def _note(entered: dict[nn.Module, None], block: nn.Module, _: object) -> None:
    entered.setdefault(block)
