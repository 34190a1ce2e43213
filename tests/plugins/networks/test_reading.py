"""Modules of a file that fit no layer, or no network at all."""

from __future__ import annotations

import pytest
import torch
from loracore_networks.reading import build_from_file
from torch import Tensor, nn

from loracore import Config, DataError, LoraTarget, NetworkOptions

RUN = Config([NetworkOptions()], {})


def place(layer: nn.Linear | nn.Conv2d | None = None) -> LoraTarget:
    return LoraTarget("lora_unet_x", (layer or nn.Linear(6, 8),), ("x",), "unet")


def zeros(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


LOHA = {"hada_w1_a": (8, 2), "hada_w1_b": (2, 6), "hada_w2_a": (8, 2), "hada_w2_b": (2, 6)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (zeros(w_norm=(8,), b_norm=(8,)), "b_norm, w_norm: no network that loracore knows"),
        (zeros(**LOHA, hada_w3_a=(8, 2)), "LoHa: unknown hada_w3_a"),
        (zeros(**LOHA, dora_scale=(1, 6)), "LoHa: unknown dora_scale"),
        (zeros(hada_w1_a=(8, 2), hada_w1_b=(2, 6)), "missing hada_w2_a, hada_w2_b"),
        (zeros(**{**LOHA, "hada_w2_a": (9, 2)}), r"hada_w2_a has shape \[9, 2\], here it is \[8, 2\]"),
        (zeros(**{**LOHA, "hada_w1_b": (0, 6)}), r"hada_w1_b has shape \[0, 6\]"),
        (zeros(**LOHA, alpha=(2,)), r"alpha has shape \[2\]"),
        (zeros(lokr_w1=(3, 2), lokr_w2=(2, 3)), r"lokr_w1 has shape \[3, 2\].*\[8, 6\]"),
        (zeros(lokr_w1=(2, 2), lokr_w2=(4, 4)), r"lokr_w2 has shape \[4, 4\], here it is \[4, 3\]"),
        (zeros(lokr_w1=(2, 2), lokr_w2_a=(4, 2)), "missing lokr_w2_b"),
        (zeros(oft_blocks=(3, 4, 4)), "for a layer of 8 outputs"),
        (zeros(oft_blocks=(2, 4, 4), rescale=(4, 1)), r"rescale has shape \[4, 1\]"),
        (zeros(oft_blocks=(4, 2, 4, 4)), "for a layer of 8 outputs"),
        (zeros(a1__weight=(2, 6), a2__weight=(6, 2), b1__weight=(2, 6), b2__weight=(8, 2)), "a1.weight has shape"),
        (zeros(weight=(7,), on_input=()), r"weight has shape \[7\], here it is \[8\]"),
        (zeros(diff=(8, 7)), r"diff has shape \[8, 7\], here it is \[8, 6\]"),
        (zeros(diff=(8, 6), diff_b=(8,)), "changes biases too"),
        (
            {"lora_up.weight": torch.zeros(8, 2), "lora_down.weight": torch.zeros(2, 6), "diff_b": torch.zeros(8)},
            "biases",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_without_advice_on_options(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        build_from_file(place(), tensors, RUN)
    assert "--dim_from_weights" not in str(caught.value)


def test_a_lora_is_read_in_a_run_of_any_network() -> None:
    tensors = {"alpha": torch.tensor(1.0), **zeros(lora_down__weight=(2, 6), lora_up__weight=(8, 2))}
    adapter = build_from_file(place(), tensors, RUN)
    assert (adapter.rank, adapter.alpha_value) == (2, 1)


def test_factors_of_ia3_on_the_inputs_are_read() -> None:
    layer = nn.Linear(6, 8)
    tensors = {"weight": torch.arange(6.0), "on_input": torch.tensor(1)}
    adapter = build_from_file(place(layer), tensors, RUN)
    adapter.load_file_tensors(tensors)
    assert torch.equal(adapter.weight_change(0, [layer.weight]), layer.weight * torch.arange(6.0))


@pytest.mark.parametrize("blocks", [(2, 4, 4), (2, 2, 4, 4)])
def test_row_factors_of_other_trainers_are_applied(blocks: tuple[int, ...]) -> None:
    layer, rescale = nn.Linear(6, 8), torch.arange(8.0)[:, None]
    tensors = {"oft_blocks": torch.zeros(blocks), "rescale": rescale}
    adapter = build_from_file(place(layer), tensors, RUN)
    adapter.load_file_tensors(tensors)
    assert torch.allclose(layer.weight + adapter.weight_change(0, [layer.weight]), layer.weight * rescale, atol=1e-6)


def test_a_constraint_of_the_file_is_applied_to_its_blocks() -> None:
    layer, tensors = nn.Linear(6, 8), {"oft_blocks": torch.randn(2, 4, 4), "alpha": torch.tensor(1e-3)}
    adapter = build_from_file(place(layer), tensors, RUN)
    adapter.load_file_tensors(tensors)
    blocks = adapter.file_tensors()["oft_blocks"]
    assert torch.isclose((blocks - blocks.mT).norm(), torch.tensor(8e-3))
