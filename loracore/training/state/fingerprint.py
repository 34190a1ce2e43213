"""What a state says of the data that its run was trained on, so that a resume can tell others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loracore.config.dataset_spec import DatasetSpec
from loracore.data.index import Index

#: Where a data set lies, what was said of it, and what is compared otherwise (batches: all processes together).
_LEFT_OUT = frozenset({"image_dir", "metadata_file", "conditioning_data_dir", "place", "warnings", "batch_size"})


def data_identity(index: Index, datasets: Sequence[DatasetSpec], processes: int) -> dict[str, Any]:
    """Return what must be the same for the same steps to follow: pictures, their order, batches, captions, their rules.

    No file is read again: captions are as they were scanned, pictures are told apart by the lengths of their files.
    Times of change do not count, data sets may be copied.
    """
    names = hashlib.blake2b(digest_size=16)
    for number, source in enumerate(index.sources):
        table_rows = index.table_rows[index.rows_of(number)]
        texts = _names([source.table.names[row] for row in table_rows.tolist()], whole=source.table.folder is None)
        names.update("\0".join(texts).encode("utf-8", "surrogatepass") + b"\0\0")
    framings, rows = index.framings, index.framing_rows
    sizes = np.concatenate([framings.originals, framings.resized, framings.crops, framings.sizes], axis=1)[rows]
    counts = np.bincount(index.buckets, weights=index.repeats, minlength=len(index.bucket_list))
    return {
        "pictures": len(index),
        "samples": index.samples,
        "names": names.hexdigest(),
        "sizes": _digest(sizes.astype("<i8")),
        "repeats": _digest(index.repeats.astype("<i8")),
        "captions": _captions(index),
        "lengths": _lengths(index),
        "buckets": [
            [dataset, *size, int(count)] for (dataset, size), count in zip(index.bucket_list, counts, strict=True)
        ],
        "batches": [dataset.batch_size * processes for dataset in datasets],
        "datasets": [plain_values(dataset) for dataset in datasets],
    }


def _names(names: Sequence[str], *, whole: bool) -> Sequence[str]:
    """Return names of pictures without the folder that all of a list lie in: ``whole`` ones are paths."""
    if not whole or not names:
        return names
    try:
        common = os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120  # a million of them
    except ValueError:  # on several drives, or some of them relative
        return names
    if not all(name.startswith(common) for name in names):  # written in several ways
        return names
    return [name[len(common) :].replace(os.sep, "/").lstrip("/") for name in names]


def _captions(index: Index) -> Tensor:
    """Return a digest of what the caption of each picture says (N, int64): how many have changed is to be told."""
    digests = (
        hashlib.blake2b(index.caption(row).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for row in range(len(index))
    )
    return torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.int64)


def _lengths(index: Index) -> Tensor:
    """Return the bytes of each picture's file (N, int64)."""
    lengths = np.zeros(len(index), np.int64)
    for number, source in enumerate(index.sources):
        rows = index.rows_of(number)
        lengths[rows] = source.table.lengths[index.table_rows[rows]]
    return torch.from_numpy(lengths)


def plain_values(value: Any) -> Any:
    """Return frozen options as dicts, lists and texts, without the places where things lie."""
    if is_dataclass(value):
        kept = (field.name for field in fields(value) if field.name not in _LEFT_OUT)
        return {name: plain_values(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {str(name): plain_values(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)  # a TOML file's dates, too


def data_differences(saved: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Give what of the data of a state is not that of this run, one sentence each."""
    for name, what in (("pictures", "pictures"), ("samples", "pictures with their repeats")):
        if saved[name] != own[name]:
            yield f"the state's data set has {saved[name]} {what}, this run's {own[name]}"
    if saved["pictures"] == own["pictures"]:
        for name in ("names", "sizes", "repeats"):
            if saved[name] != own[name]:
                yield f"{name} of pictures are not those of the state's data set"
        if saved["names"] == own["names"]:
            yield from _changed(saved, own)
    if saved["buckets"] != own["buckets"]:
        yield "buckets are not those of the state's data set"
    if saved["batches"] != own["batches"]:
        before, now = _listed(saved["batches"]), _listed(own["batches"])
        yield f"batches of all processes together have {now} pictures, the state's {before}"


def _changed(saved: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Give how many captions say something else, and how many pictures are other files; of the same names."""
    for name, what in (("captions", "captions"), ("lengths", "pictures' files")):
        count = int((saved[name] != own[name]).sum())
        if count:
            yield f"{count} of {own['pictures']} {what} have changed since the state was saved"


def rule_differences(saved: Any, own: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give the values of data sets that differ: where ("datasets[0].subsets[1].captions.keep_tokens"), saved, own."""
    if isinstance(saved, dict) and isinstance(own, dict):
        for name in sorted({*saved, *own}):
            yield from rule_differences(saved.get(name), own.get(name), f"{path}.{name}")
    elif isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own):
        for place, pair in enumerate(zip(saved, own, strict=True)):
            yield from rule_differences(*pair, f"{path}[{place}]")
    elif saved != own:
        yield path, saved, own


def _digest(numbers: np.ndarray[Any, Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(numbers).tobytes(), digest_size=16).hexdigest()


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
