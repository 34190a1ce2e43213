"""How processes that fill one store at the same time leave each other's work alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from loracore.data.store.cache_store import CacheStore

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

Item = TypeVar("Item")

_SECONDS = 2.0  # after which what is encoded is stored, and it is looked for what other processes have stored


@dataclass(eq=False, slots=True)
class Sharing:
    """One filling of a store, perhaps among others; whatever ends it, what was appended is stored."""

    store: CacheStore
    looked: float  # when, on the monotonic clock

    @classmethod
    def of(cls, store: CacheStore) -> Self:
        """Begin to fill a store that has just been looked at."""
        return cls(store, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.flush()

    def shuffled(self, chunks: Sequence[Item]) -> Sequence[Item]:
        """Return chunks in an order that no other filling of the store has.

        Two that went the same way, even from different starts, would meet and from then on do the same at the same
        time. Not by the number of the process: in containers those are alike.
        """
        if not self.store.shared:
            return chunks
        return [chunks[at] for at in np.random.default_rng().permutation(len(chunks)).tolist()]

    def lacking(self, several: Sequence[Item], key: Callable[[Item], bytes]) -> Sequence[Item]:
        """Return those that nobody has stored yet; files are looked at every two seconds at most."""
        if time.monotonic() - self.looked > _SECONDS:
            self.store.flush()
            self.store.refresh()
            self.looked = time.monotonic()
        return [one for one in several if self.store.slot(key(one)) < 0]
