from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loracore import DataError
from loracore.data.cache import LatentCache, TextCache, append, latents_entry
from loracore.data.cache_keys import text_key
from loracore.data.store.cache_store import CacheStore
from loracore.data.store.memory import MemoryStore
from loracore.data.store.store import Store
from loracore.types import Latents

KEYS = [bytes([number]) * 16 for number in range(3)]


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CacheStore:
    return MemoryStore() if request.param == "memory" else Store(tmp_path / "store")


def latents(count: int = 3) -> Latents:
    mean = torch.arange(count * 4 * 2 * 2, dtype=torch.float32).view(count, 4, 2, 2) / 7
    return Latents(mean, -mean)


def filled(store: CacheStore, masks: list[torch.Tensor | None], dtype: torch.dtype = torch.float32) -> LatentCache:
    for row, mask in enumerate(masks):
        append(store, KEYS[row], latents_entry(latents(), row, mask, dtype))
    store.flush()
    slots = store.find(np.frombuffer(b"".join(KEYS), dtype=np.uint8).reshape(-1, 16))
    return LatentCache(store, np.stack([slots, slots[::-1]], axis=1))


def test_latents_come_back_as_they_were_in_the_order_of_the_rows(store: CacheStore) -> None:
    found, masks = filled(store, [None] * 3).batch([2, 0], [False, False])
    assert torch.equal(found.mean, latents().mean[[2, 0]])
    assert torch.equal(found.log_variance, latents().log_variance[[2, 0]])
    assert masks is None


def test_mirrored_rows_have_slots_of_their_own(store: CacheStore) -> None:
    found, _ = filled(store, [None] * 3).batch([0, 0], [False, True])
    assert torch.equal(found.mean, latents().mean[[0, 2]])


def test_a_picture_without_a_mask_counts_everywhere_beside_one_that_has(store: CacheStore) -> None:
    mask = torch.tensor([[[0.1, 0.2], [0.3, 1 / 3]]])
    _, masks = filled(store, [None, mask, None]).batch([0, 1], [False, False])
    assert masks is not None
    assert torch.equal(masks, torch.stack([torch.ones(1, 2, 2), mask]))


def test_half_precision_is_kept_as_such(store: CacheStore) -> None:
    mask = torch.tensor([[[0.1, 0.2], [0.3, 1 / 3]]])
    found, masks = filled(store, [mask] * 3, torch.float16).batch([1], [False])
    assert torch.equal(found.mean, latents().mean[1:2].half())
    assert masks is not None
    assert torch.equal(masks[0], mask.half().float())


def test_texts_are_found_by_caption_and_short_ones_filled_up(store: CacheStore) -> None:
    long, short = torch.ones(3, 2), torch.full((1, 2), 2.0)
    append(store, text_key(b"models", "long"), {"hidden": long, "pooled": torch.ones(4)})
    append(store, text_key(b"models", "short"), {"hidden": short, "pooled": torch.zeros(4)})
    store.flush()
    found = TextCache(store, b"models").batch(["short", "long", "short"])
    assert found["hidden"][:, :, 0].tolist() == [[2, 0, 0], [1, 1, 1], [2, 0, 0]]
    assert found["pooled"].shape == (3, 4)


def test_a_text_that_was_never_encoded_is_no_other_text(store: CacheStore) -> None:
    append(store, text_key(b"models", "known"), {"pooled": torch.ones(4)})
    store.flush()
    for own, caption in ((b"models", "unknown"), (b"others", "known")):
        with pytest.raises(IndexError):
            TextCache(store, own).batch([caption])


def test_a_damaged_entry_is_said_and_made_again_by_the_next_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    cache = filled(store, [None] * 3)
    (data,) = (tmp_path / "store").rglob("*.data")
    whole = bytearray(data.read_bytes())
    whole[:16] = bytes(16)
    data.write_bytes(whole)
    with pytest.raises(DataError, match="made anew"):
        cache.batch([0], [False])
    again = Store(tmp_path / "store")
    assert [again.slot(key) >= 0 for key in KEYS] == [False, True, True]
