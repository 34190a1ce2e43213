"""Which pictures are trained on and which are held out: never both, under whatever path they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loracore.data.index import Rows
from loracore.data.pictures.same_file import real_paths
from loracore.data.repeats import held_out
from loracore.data.scan_messages import be, counted
from loracore.data.sources import Source

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One source with the rows of its table that can be used."""

    source: Source
    rows: Rows


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """For each part, which of its rows are for what; some may be for neither."""

    trained: Sequence[Mask]
    held: Sequence[Mask]  # every picture once in all parts together
    warnings: tuple[str, ...] = ()


def split(parts: Sequence[Part], datasets: Sequence[DatasetSpec], seed: int) -> Split:
    """Hold out each subset's share of its pictures; what is held out anywhere is trained on nowhere.

    Only subsets with a ``validation_split``, their own or that of their data set, hold out, and never regularisation:
    such a picture that another subset holds out is not used at all.
    """
    drawn = [_drawn(part, datasets[part.source.dataset], seed) for part in parts]
    warnings = tuple(_idle_splits(parts, drawn, datasets))
    if not any(mask.any() for mask in drawn):
        return Split([~mask for mask in drawn], drawn, warnings)
    real = real_paths()
    paths = [[real(part.source.path(int(row))) for row in part.rows] for part in parts]
    out = {path for own, mask in zip(paths, drawn, strict=True) for path, held in zip(own, mask, strict=True) if held}
    trained = [np.array([path not in out for path in own], dtype=np.bool_) for own in paths]
    lost = [int((~mask & ~kept).sum()) for mask, kept in zip(drawn, trained, strict=True)]
    told = (_lost(part, count) for part, count in zip(parts, lost, strict=True) if count)
    return Split(trained, _once(paths, drawn), (*warnings, *told))


def _drawn(part: Part, dataset: DatasetSpec, seed: int) -> Mask:
    """Return which rows the subset's own split holds out."""
    held = np.zeros(len(part.rows), dtype=np.bool_)
    share = dataset.share_held_out(part.source.subset)
    if share > 0:
        own_seed = seed if dataset.validation_seed is None else dataset.validation_seed
        held[held_out(len(held), share, own_seed)[1]] = True
    return held


def _once(paths: Sequence[Sequence[str]], drawn: Sequence[Mask]) -> list[Mask]:
    """Return the masks without the pictures that came before."""
    seen: set[str] = set()
    found = [mask.copy() for mask in drawn]
    for own, mask in zip(paths, found, strict=True):
        for row in np.flatnonzero(mask).tolist():
            mask[row] = own[row] not in seen
            seen.add(own[row])
    return found


def _idle_splits(parts: Sequence[Part], drawn: Sequence[Mask], datasets: Sequence[DatasetSpec]) -> Iterator[str]:
    """Give what is said of data sets whose share of pictures comes to none."""
    for number, dataset in enumerate(datasets):
        own = [row for row, part in enumerate(parts) if part.source.dataset == number]
        split = [row for row in own if len(drawn[row]) and dataset.share_held_out(parts[row].source.subset) > 0]
        if split and not any(drawn[row].any() for row in split):
            pictures = counted(sum(len(drawn[row]) for row in split), "picture")
            place = parts[split[0]].source.subset.place
            share = f"{max(dataset.share_held_out(parts[row].source.subset) for row in split):g} of {pictures}"
            yield f"{place}: validation_split holds out nothing: {share} comes to none in every subset"


def _lost(part: Part, count: int) -> str:
    subset = part.source.subset
    are = f"{counted(count, 'picture')} of {subset.source} {be(count)}"
    return f"{subset.place}: {are} not trained on: held out for validation elsewhere"
