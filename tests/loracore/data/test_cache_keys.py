from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
from loracore.data.cache_keys import KEY_BYTES, identity, latents_keys, text_key
from loracore.data.index import Index
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from tests.loracore.data.conftest import Dataset, Paint, Subset

Keyed = Callable[..., list[bytes]]


@pytest.fixture
def keyed(subset: Subset, dataset: Dataset, paint: Paint) -> Keyed:
    """Return the keys of three pictures of two sizes under some values of data set and subset."""
    for number, size in enumerate([(64, 64), (64, 64), (96, 48)]):
        paint(f"{number}.png", size)

    def keys(own: bytes = b"model", *, flipped: bool = False, content: int = 0, **values: Any) -> list[bytes]:
        of_subset = {name: value for name, value in values.items() if name in SubsetSpec.__slots__}
        of_dataset = {name: value for name, value in values.items() if name in DatasetSpec.__slots__}
        index = scan([dataset(subset(**of_subset), **of_dataset)], Reading()).training
        return packed(own, index, content, flipped=flipped)

    return keys


def packed(own: bytes, index: Index, content: int = 0, *, flipped: bool = False) -> list[bytes]:
    digests = np.arange(len(index) * KEY_BYTES, dtype=np.uint8).reshape(-1, KEY_BYTES)
    masks = np.full_like(digests, content)
    return [key.tobytes() for key in latents_keys(own, index, digests, masks, flipped=flipped)]


def test_pictures_have_different_keys_always_the_same(keyed: Keyed) -> None:
    assert len(set(keyed())) == 3
    assert {len(key) for key in keyed()} == {KEY_BYTES}
    assert keyed() == keyed()


@pytest.mark.parametrize(
    "values",
    [
        {"own": b"another model"},
        {"flipped": True},
        {"content": 1},
        {"resolution": (32, 32)},
        {"resize_interpolation": "nearest"},
        {"alpha_mask": True},
    ],
)
def test_what_changes_latents_changes_every_key(keyed: Keyed, values: dict[str, Any]) -> None:
    assert not set(keyed(**values)) & set(keyed())


@pytest.mark.parametrize(
    "values", [{"num_repeats": 3}, {"batch_size": 7}, {"loss_weight": 0.5}, {"network_multiplier": 0.1}]
)
def test_what_changes_no_latents_changes_no_key(keyed: Keyed, values: dict[str, Any]) -> None:
    assert keyed(**values) == keyed()


def test_a_bucket_changes_the_keys_of_its_own_pictures_alone(keyed: Keyed) -> None:
    bucketed = keyed(enable_bucket=True, min_bucket_reso=32, max_bucket_reso=128, bucket_reso_steps=16)
    assert [one == other for one, other in zip(bucketed, keyed(), strict=True)] == [True, True, False]


def test_two_data_sets_share_the_keys_of_a_folder(subset: Subset, dataset: Dataset, paint: Paint) -> None:
    paint("one.png")
    index = scan([dataset(subset()), dataset(subset(), batch_size=4)], Reading()).training
    same = np.zeros((2, KEY_BYTES), dtype=np.uint8)
    first, second = latents_keys(b"model", index, same, same, flipped=False)
    assert first.tobytes() == second.tobytes()


def test_the_folder_and_the_name_of_a_picture_are_not_in_its_key(
    subset: Subset, dataset: Dataset, paint: Paint, tmp_path: Path
) -> None:
    paint("a/one.png")
    paint("b/other.png")
    keys = [packed(b"model", scan([dataset(subset(tmp_path / name))], Reading()).training) for name in ("a", "b")]
    assert keys[0] == keys[1]


def test_an_identity_follows_kind_and_values() -> None:
    values = {"dtype": "bf16", "options": {"a": 1, "b": Path("x")}}
    mixed = {"options": {"b": Path("x"), "a": 1}, "dtype": "bf16"}
    assert identity("text", values) == identity("text", mixed)
    assert identity("text", values) != identity("latents", values) != identity("latents", {**values, "dtype": "no"})


def test_texts_have_keys_under_their_models() -> None:
    found = [text_key(own, caption) for own in (b"one", b"other") for caption in ("", "a", "a ", "ä")]
    assert len(set(found)) == 8


def test_a_key_is_the_same_on_every_machine() -> None:
    # Written down once: a change would encode everybody's pictures again.
    assert text_key(b"model", "a cat").hex() == "e56d139a89a2986bf406873f7c0b2404"
