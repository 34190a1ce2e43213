"""Ends a run whose adapters are worthless: no later step can be applied, and nothing of it may be saved."""

from __future__ import annotations

from pathlib import Path

from loracore.errors import LoracoreError
from loracore.networks.network import Network
from loracore.training.results.retention import Retention
from loracore.weights.extremes import is_finite as all_finite


class NotFiniteError(LoracoreError):
    """The adapters hold numbers that are not finite; what was saved before is as it was."""


def is_finite(network: Network) -> bool:
    """Tell whether every parameter of the adapters is finite; waits for the device."""
    return all(all_finite(one.detach()) for entry in network.entries for one in entry.adapter.parameters())


def check_adapters(network: Network, retention: Retention, step: int, refused: Path | None = None) -> None:
    """Raise NotFiniteError, naming what is kept, when the adapters are not finite behind ``step``.

    ``refused`` is what could not be written: something older may lie there. Guarded steps have finite gradients, but
    an optimizer can still overflow on them.
    """
    if is_finite(network):
        return
    newest = [series.newest for series in retention.all]
    kept = ", ".join(str(path) for path in newest if path is not None and path != refused)
    message = f"the network's weights are not finite behind step {step}: no later step can be applied"
    fix = "lower learning_rate and start anew"
    if kept:
        fix += f" from the last good file with --network_weights; kept: {kept}"
    raise NotFiniteError(message, fix=fix)
