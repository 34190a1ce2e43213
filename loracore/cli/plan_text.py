"""What ``loracore plan`` tells as lines for a person; sizes in GB of 10^9 bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loracore.config.options.memory import GB

if TYPE_CHECKING:
    from loracore.training.planning.outlook import Fitted, Outlook

_WIDTH = 28  # of what a row is about


def lines(found: Outlook) -> Iterator[str]:
    """Give the batch, the table of phases and parts, the blocks, and what cards would do."""
    width, height = found.batch.size
    where = "" if found.batch.dataset is None else f", the largest bucket of data set {found.batch.dataset + 1}"
    yield f"batch        {found.batch.samples} x {width}x{height}{where}"
    yield f"{_headline(found)}: {_size(found.needed)} GB"
    yield ""
    yield from _table(found)
    yield ""
    if found.blocks:
        kept = [block.kept for block in found.blocks]
        each = f"{_size(min(kept), 3)} to {_size(max(kept), 3)}"
        yield f"blocks       {len(kept)} of the denoiser keep {_size(sum(kept))} GB, {each} each"
    yield from _cards(found.fitted) if len(found.fitted) > 1 else _card(found.fitted[0])
    if found.proposals:
        yield "also help, but are never done by themselves:"
        yield from (f"  {text}" for text in found.proposals)


def _headline(found: Outlook) -> str:
    """Return which run is counted, and who decides that."""
    if not found.auto:
        return f"as given     {found.counted}"
    chosen = str(found.counted) if len(found.fitted) == 1 else f"as the card needs it, see below; {found.counted}"
    return f"memory auto  {chosen}"


def _table(found: Outlook) -> Iterator[str]:
    """Give a row for each part, a column for each phase: its peak."""
    yield f"{'GB at the peak':{_WIDTH}}" + "".join(f"{phase.name:>10}" for phase in found.phases)
    parts = dict.fromkeys(part for phase in found.phases for part in phase.parts)
    for part in parts:
        yield _row(part, [phase.parts.get(part, 0) for phase in found.phases])
    yield _row("context, workspaces, gaps", [found.reserve] * len(found.phases))
    yield _row("together", [phase.peak + found.reserve for phase in found.phases])


def _row(name: str, sizes: Sequence[int]) -> str:
    return f"{name:{_WIDTH}}" + "".join(f"{_size(size) if size else '-':>10}" for size in sizes)


def _card(fitted: Fitted) -> Iterator[str]:
    yield f"{_size(fitted.budget)} GB   {_verdict(fitted)}"
    yield f"  {fitted.treatment}"
    yield from (f"  {line}" for line in fitted.why)


def _cards(several: Sequence[Fitted]) -> Iterator[str]:
    """Give a line for each usual card."""
    for fitted in several:
        yield f"{fitted.budget / GB:4.0f} GB card  {_verdict(fitted)}"


def _verdict(fitted: Fitted) -> str:
    fits = "" if fitted.fits else "does not fit: "
    return f"{fits}{_size(fitted.needed)} GB with {fitted.treatment.short}, {fitted.effort}"


def _size(count: int, digits: int = 2) -> str:
    return f"{count / GB:.{digits}f}"
