"""What is proven of pictures by opening them: which cannot be decoded, and which are the same, byte for byte.

A folder that several data sets name, or whose pictures are partly held out, has one kept table. Each table is therefore
looked at once, with all its rows: halves that were kept one after the other would lose what is known of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from loracore.data.contents import TableName, needed, table_name, workers
from loracore.data.index import Index
from loracore.data.scan_messages import bad_picture
from loracore.data.sources import Source
from loracore.data.tables.decoding import check_decoding
from loracore.data.tables.digests import equal_lengths, same_pictures, with_digests
from loracore.data.tables.picture_table import Decoded, PictureTable
from loracore.errors import Problem


@dataclass(frozen=True, eq=False, slots=True)
class Proof:
    """What came of decoding every picture and every mask of some indexes."""

    tables: Mapping[TableName, PictureTable]  # each with what is known now
    broken: Mapping[TableName, Mapping[int, str]]  # rows that cannot be decoded, and why

    def broken_rows(self, index: Index) -> dict[int, str]:
        """Return the rows of an index that cannot be decoded, masks included, and why."""
        found: dict[int, str] = {}
        for number, source in enumerate(index.sources):
            own, masks = self._reasons(source)
            if own or masks:
                rows = index.rows_of(number).tolist()
                reasons = {**{at: f"its mask {why}" for at, why in masks.items()}, **own}
                found |= {row: reasons[at] for row in rows if (at := int(index.table_rows[row])) in reasons}
        return found

    def _reasons(self, source: Source) -> tuple[Mapping[int, str], Mapping[int, str]]:
        """Return what is broken by row of the source's table: pictures, and masks."""
        own = self.broken.get(table_name(source.table), {})
        if source.masks is None:
            return own, {}
        masks = self.broken.get(table_name(source.masks.table), {})
        return own, {row: masks[mask] for row, mask in enumerate(source.masks.rows.tolist()) if mask in masks}


def prove(indexes: Sequence[Index], keep: Path | None, *, show: bool) -> Proof:
    """Decode what has not been seen to be whole, masks included, each file once; ``keep`` holds the kept tables."""
    every = needed(indexes)
    tables: dict[TableName, PictureTable] = {}
    broken: dict[TableName, Mapping[int, str]] = {}
    untried = {name: int((one.table.decoded[one.rows] != Decoded.WHOLE).sum()) for name, one in every.items()}
    total = sum(untried.values())
    bar: tqdm[NoReturn]
    with tqdm(total=total, desc="pictures", unit="picture", disable=not (show and total)) as bar:
        done = 0
        for name, one in every.items():
            tables[name], broken[name] = check_decoding(one.table, one.rows, keep, workers(), partial(_move, bar, done))
            done += untried[name]
    return Proof(tables, broken)


def broken_pictures(index: Index, proof: Proof) -> list[Problem]:
    """Return the problems of an index's pictures that cannot be decoded, themselves or their masks."""
    return [bad_picture(index.path(row), reason) for row, reason in sorted(proof.broken_rows(index).items())]


def _move(bar: tqdm[NoReturn], before: int, tried: int) -> None:
    bar.update(before + tried - int(bar.n))


def same_files(proof: Proof, sources: Sequence[Source], keep: Path | None) -> list[list[tuple[Source, int]]]:
    """Return groups of pictures that are different files with the same bytes, as (source, row of its table).

    Only files of equal length and size are read, once in their lives.
    """
    first: dict[TableName, Source] = {}
    for source in sources:
        first.setdefault(table_name(source.table), source)
    tables = [proof.tables.get(key, source.table) for key, source in first.items()]
    pairs = zip(tables, equal_lengths(tables), strict=True)
    hashed = [with_digests(table, rows, keep, workers()) for table, rows in pairs]
    owners = list(first.values())
    return [[(owners[number], row) for number, row in group] for group in same_pictures(hashed)]
