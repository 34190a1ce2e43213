"""A toy run with the field's files beside its pictures, as far as its stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.data.cache import TextCache
from loracore.data.index import Index
from loracore.data.npz.field_files import crop_box
from loracore.data.reading import reading_of
from loracore.data.scanning import scan
from loracore.data.store.memory import MemoryStore
from loracore.data.store.tensors import to_tensors
from loracore.hookspecs import hookimpl
from loracore.testing.toy_models import FEATURES
from loracore.training.assembly.phases import Loading
from loracore.training.caches.encoding import encode_pictures, encode_texts
from loracore.training.caches.exporting import export_field_latents, export_field_texts
from loracore.training.caches.importing import (
    import_field_latents,
    import_field_texts,
    with_foreign_latents,
    with_foreign_texts,
)
from loracore.training.caches.picture_keys import PictureKeys, picture_keys
from loracore.types import FieldFiles, LatentsFile, TextFile

PLAIN = LatentsFile("_toy.npz", channels=3, pixels=8, scale=0.5, shift=0.25)
SIZED = LatentsFile("_toy.npz", channels=3, pixels=8, scale=0.5, shift=0.25, sized_keys=True)
TEXT = TextFile("_toy_te.npz", {"first": {"pooled": 3}, "second": {"pooled": 5}}, {}, {"te1": FEATURES})
BOTH = FieldFiles(PLAIN, TEXT)
OWN = bytes(16)  # identity of encoded captions


@dataclass(frozen=True, slots=True)
class Files:
    """A plugin that answers one hook."""

    layout: FieldFiles | None

    @hookimpl
    def field_files(self) -> FieldFiles | None:
        return self.layout


@dataclass(frozen=True, eq=False, slots=True)
class Beside:
    """What a run knows before anything is encoded."""

    loading: Loading
    index: Index
    keys: PictureKeys
    store: MemoryStore = field(default_factory=MemoryStore)

    @classmethod
    def of(cls, config: Path, *flags: str, layout: FieldFiles | None = BOTH) -> Beside:
        """Scan the data of a configuration file."""
        request = read_request([str(config), *flags])
        request.plugins.register(Files(layout))
        datasets = read_datasets(request.config, request.document)
        full = request.config.with_datasets(datasets)
        loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, full)
        index = scan(datasets, reading_of(full, 0)).training
        return cls(loading, index, picture_keys(loading, index, on_disk=True))

    def import_latents(self) -> tuple[str, ...]:
        """Read files, and return what a run says of them."""
        notes = import_field_latents(self.loading, self.keys, self.store, show=False)
        return (*notes, *with_foreign_latents(self.loading, self.keys, self.store)[1])

    def import_texts(self, encoders: Sequence[str] = ("text",)) -> tuple[str, ...]:
        """Read files, and return what a run says of them."""
        cache = TextCache(self.store, OWN)
        notes = import_field_texts(self.loading, self.index, cache, cache.lacking(self.captions), encoders, show=False)
        return (*notes, *self._texts()[1])

    def export_latents(self) -> tuple[str, ...]:
        missing = with_foreign_latents(self.loading, self.keys, self.store)[0].missing(self.store)
        encode_pictures(self.loading, self.index, self.store, missing, hits=0, show=False)
        return export_field_latents(self.loading, self.keys, self.store, show=False)

    def export_texts(self, encoders: Sequence[str] = ("text",)) -> tuple[str, ...]:
        encode_texts(
            self.loading, self.store, OWN, self._texts()[0].lacking(self.captions), ("text",), hits=0, show=False
        )
        return export_field_texts(self.loading, self.index, self.store, OWN, encoders, show=False)

    @property
    def captions(self) -> list[str]:
        """The captions of all pictures."""
        return sorted({self.index.caption(row) for row in range(len(self.index))})

    def row(self, name: str) -> int:
        return next(row for row in range(len(self.index)) if self.index.path(row).name == name)

    def latents(self, name: str, *, flipped: bool = False) -> dict[str, torch.Tensor] | None:
        """Return what a run reads of a picture."""
        found = with_foreign_latents(self.loading, self.keys, self.store)[0]
        entry = self.store.read_key((found.mirrored if flipped else found.plain)[self.row(name)].tobytes())
        return None if entry is None else to_tensors(entry)

    def text(self, caption: str) -> dict[str, torch.Tensor] | None:
        """Return what a run reads of a caption."""
        entry = self.store.read_key(self._texts()[0].key(caption))
        return None if entry is None else to_tensors(entry)

    def field_arrays(self, name: str, end: str = "", **changes: Any) -> dict[str, Any]:
        """Return the arrays that another tool would write of a picture; None leaves one out."""
        framing = self.index.framing(self.row(name))
        width, height = (side // 8 for side in framing.size)
        arrays = {
            "latents": np.random.default_rng(0).standard_normal((3, height, width), dtype=np.float32),
            "original_size": np.array(framing.original),
            "crop_ltrb": crop_box(framing),
        }
        return {f"{key}{end}": array for key, array in (arrays | changes).items() if array is not None}

    def place(self, name: str, suffix: str = "_toy.npz") -> Path:
        """Return the file of a picture."""
        path = self.index.path(self.row(name))
        width, height = self.index.framing(self.row(name)).original
        return path.with_name(f"{path.stem}_{width:04d}x{height:04d}{suffix}")

    def write(self, name: str, **changes: Any) -> Path:
        """Write a file of another tool."""
        np.savez(self.place(name), **self.field_arrays(name, **changes))
        return self.place(name)

    def _texts(self) -> tuple[TextCache, tuple[str, ...]]:
        cache = TextCache(self.store, OWN)
        return with_foreign_texts(self.loading, self.index, cache, cache.lacking(self.captions))


def set_time(path: Path, second: int) -> None:
    os.utime(path, ns=(second * 10**9,) * 2)
