from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from loracore import Models
from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.storing import quantise, quantised_notes
from tests.loracore.memory.adapted import models_of


def two_layers(width: int = 64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, width), nn.Linear(width, width)).to(torch.bfloat16)


def test_the_header_tells_how_much_it_saves_and_how_far_off_it_is() -> None:
    model = two_layers(512)
    weight = model.get_submodule("1").weight
    assert isinstance(weight, nn.Parameter)
    weight.data[0, 0] = 50.0  # all others of its row are lost
    before, models = weight.detach().float(), models_of(model, [])
    quantise(list(model), FORMS["int8"], None, torch.bfloat16)  # type: ignore[arg-type]  # they are Linear
    (line,) = quantised_notes(models)
    after = model.get_submodule("1").weight
    assert isinstance(after, torch.Tensor)
    error = (after.float() - before).norm() / before.norm()
    assert line.startswith("2 matrices of the denoiser stored as int8: 1.0 -> 0.5 MiB; ")
    assert line.endswith(f"largest relative error {error:.2%} (1)")


def test_nothing_is_told_where_nothing_is_stored() -> None:
    assert list(quantised_notes(models_of(two_layers(), []))) == []
    assert list(quantised_notes(Models())) == []


def test_one_layer_at_a_time_is_there_twice() -> None:
    layers = [nn.Linear(8, 8) for _ in range(4)]
    weights: list[Any] = [StorageWeakRef(layer.weight.untyped_storage()) for layer in layers]  # type: ignore[no-untyped-call]  # torch's own
    alive = []

    def counted() -> Iterator[nn.Linear]:
        for layer in layers:
            alive.append(sum(not weight.expired() for weight in weights))
            yield layer

    quantise(counted(), FORMS["int8"], None, torch.float32)
    assert alive == [4, 3, 2, 1]


@pytest.mark.parametrize("form", FORMS)
def test_without_numbers_there_are_sizes(form: str) -> None:
    real, meta = two_layers(), two_layers().to("meta")
    for model in (real, meta):
        quantise(list(model), FORMS[form], None, torch.bfloat16)  # type: ignore[arg-type]  # they are Linear
    assert [one.nbytes for one in meta.buffers()] == [one.nbytes for one in real.buffers()]
    assert all(one.is_meta for one in meta.buffers())
    weight = meta.get_submodule("0").weight
    assert isinstance(weight, torch.Tensor)
    assert weight.is_meta
