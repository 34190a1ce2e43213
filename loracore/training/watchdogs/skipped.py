"""Ends a run whose steps are skipped one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from loracore.errors import LoracoreError
from loracore.training.steps.history import History

_NAMED = 4  # samples in the message
_FROM_THE_START = "lower learning_rate, use mixed_precision bf16, or look at the named pictures; nothing is saved"
#: A resume takes neither another learning rate nor another data set: it would be another run.
_START_ANEW = (
    "start anew from the saved file (--network_weights FILE) with a lower learning_rate, mixed_precision bf16, or "
    "without the named pictures; --resume takes the same steps again, and goes on only with a larger max_skipped_steps"
)


class SkippedStepsError(LoracoreError):
    """So many steps in a row could not be applied that no better ones are to be expected.

    The network is as after the last good step: none of the skipped ones has touched it.
    """


def check_skipped(history: History, most: int) -> None:
    """Raise SkippedStepsError when the last ``most`` steps that are known were all skipped."""
    if history.in_a_row < most:
        return
    message = f"loss or gradient was not finite for {history.in_a_row} steps in a row{_last(history.last_bad_ids)}"
    raise SkippedStepsError(message, fix=_FROM_THE_START if history.never_applied else _START_ANEW)


def _last(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f", the last with {', '.join(ids[:_NAMED])}{more}" if ids else ""
