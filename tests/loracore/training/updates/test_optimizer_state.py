from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loracore import LoracoreError
from loracore.training.updates.optimizer_state import load_optimizer_state, optimizer_state
from tests.loracore.training.updates.every_optimizer import NAMES, built, parameters, step, tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_steps_behind_a_saved_state_equal_those_of_one_run(name: str, dtype: torch.dtype) -> None:
    whole, first, second = (parameters(dtype) for _ in range(3))
    one, begun, resumed = (built(name, several) for several in (whole, first, second))
    for number in range(5):
        step(one, number)
    for number in range(2):
        step(begun, number)
    for parameter, kept in zip(second, first, strict=True):
        parameter.data.copy_(kept)
    load_optimizer_state(resumed, as_files(optimizer_state(begun)))
    for number in range(2, 5):
        step(resumed, number)
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(whole, parameters(dtype), strict=True))


def as_files(state: dict[str, Any]) -> Any:
    """Return a state as it comes back from tensors and JSON: nothing in it may be anything else."""
    kept = list(tensors(state))

    def outside(value: object) -> object:
        assert isinstance(value, Tensor)
        return {"number": next(number for number, one in enumerate(kept) if one is value)}

    def inside(value: dict[str, Any]) -> Any:
        return kept[value["number"]] if set(value) == {"number"} else value

    return json.loads(json.dumps(state, default=outside), object_hook=inside)


@pytest.mark.parametrize("name", ["AdamW", "AdamW8bit", "Prodigy", "RAdamScheduleFree"])
def test_tensors_of_a_state_are_copies_that_share_no_memory(name: str) -> None:
    optimizer = built(name, parameters())
    step(optimizer, 0)
    state = optimizer_state(optimizer)
    places = [one.data_ptr() for one in tensors(state) if one.numel()]
    assert len(places) == len(set(places))
    before = copy.deepcopy(state)
    step(optimizer, 1)
    assert all(torch.equal(a, b) for a, b in zip(tensors(before), tensors(state), strict=True))


def test_nothing_is_cast_to_the_parameters_dtype() -> None:
    optimizer = built("AdamW8bit", parameters(torch.bfloat16))
    step(optimizer, 0)
    again = built("AdamW8bit", parameters(torch.bfloat16))
    load_optimizer_state(again, optimizer_state(optimizer))
    (values, *_) = again.state.values()
    assert (values["state1"].dtype, values["absmax1"].dtype) == (torch.uint8, torch.float32)


def test_another_network_is_refused_and_changes_nothing() -> None:
    optimizer = built("AdamW", parameters())
    step(optimizer, 0)
    other = [nn.Parameter(torch.zeros(3, 3)) for _ in range(3)]
    fresh = built("AdamW", other)
    with pytest.raises(LoracoreError, match=r"parameter 0 of group 0 has the shape \[64, 80\]"):
        load_optimizer_state(fresh, optimizer_state(optimizer))
    assert not fresh.state


def test_another_number_of_groups_is_refused() -> None:
    state = optimizer_state(built("AdamW", parameters()))
    with pytest.raises(LoracoreError, match="has 1 groups of parameters, this run's has 2"):
        load_optimizer_state(built("AdamW", parameters()), {**state, "groups": state["groups"][:1]})


def test_what_only_pickle_could_save_is_refused() -> None:
    optimizer = built("AdamW", parameters())
    step(optimizer, 0)
    next(iter(optimizer.state.values()))["odd"] = {1, 2}
    with pytest.raises(LoracoreError, match="keeps a set \\('odd'\\)"):
        optimizer_state(optimizer)
