from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loracore.training.state.codec import packed, unpacked

keys = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def there_and_back(tree: Any) -> Any:
    return unpacked(*packed(tree))


def exactly(tree: Any) -> str:
    """Tell kinds apart that compare equal: 1, 1.0 and True, 0.0 and -0.0."""
    return repr(tree)


@given(trees)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    assert exactly(there_and_back(tree)) == exactly(tree)


def test_numbers_that_json_does_not_know_come_back() -> None:
    back = there_and_back([math.inf, -math.inf, math.nan])
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])


def test_keys_that_look_alike_keep_their_tensors() -> None:
    back = there_and_back({1: torch.tensor(1), "1": torch.tensor(2), "$tensor": torch.tensor(3)})
    assert [back[key].item() for key in (1, "1", "$tensor")] == [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int64, torch.bool])
def test_tensors_keep_their_bits(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    back = there_and_back({"a": (tensor, [tensor + 1 if dtype != torch.bool else tensor])})
    assert torch.equal(back["a"][0], tensor)
    assert back["a"][0].dtype == dtype


def test_what_would_need_pickle_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"set \(/a/1\)"):
        packed({"a": [1, {2}]})
