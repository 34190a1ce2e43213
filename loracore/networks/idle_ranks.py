"""Ranks beyond what a low-rank change of a layer can use."""

from __future__ import annotations

from collections.abc import Iterator

from loracore.networks.network import Entry, Network
from loracore.networks.spellings import DOWN


def has_idle_ranks(entry: Entry) -> bool:
    """Tell whether a low-rank pair has more ranks than its weight can have: the smaller side of it."""
    if DOWN not in entry.adapter.file_tensors():
        return False
    weights = [layer.weight for layer in entry.target.layers]
    outputs = min(map(len, weights)) if entry.target.separate else sum(map(len, weights))
    return entry.adapter.rank > min(outputs, weights[0][0].numel())


def idle_rank_notes(network: Network) -> Iterator[str]:
    """Give a note on such modules."""
    found = [entry for entry in network.entries if has_idle_ranks(entry)]
    if found:
        yield told(len(found), len(network.entries), found[0].target.key)


def told(count: int, modules: int, example: str) -> str:
    """Return what is said of so many modules."""
    what = "a rank above the smaller side of their weight, which gains nothing"
    return f"{count} of {modules} modules have {what}, for example {example}"
