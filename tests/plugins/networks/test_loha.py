from __future__ import annotations

import pytest
import torch
from loracore_networks.loha.change import build_loha
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions

CONV = nn.Conv2d(6, 8, 3)


def build(layer: nn.Linear | nn.Conv2d, lora: LoraOptions | None = None, *, needs_conv: bool = False) -> Adapter | None:
    target = LoraTarget("lora_unet_x", (layer,), ("x",), "unet", needs_conv=needs_conv)
    return build_loha(target, Config([NetworkOptions(network_dim=4, network_alpha=2), lora or LoraOptions()], {}))


def test_convolutions_wait_for_conv_dim_and_take_their_own_rank_and_alpha() -> None:
    assert build(CONV) is None
    assert build(nn.Linear(6, 8), needs_conv=True) is None
    found = build(CONV, LoraOptions(conv_dim=3, conv_alpha=5))
    assert found is not None
    assert (found.rank, found.alpha_value) == (3, 5)


def test_rs_lora_is_written_as_an_alpha_that_every_reader_divides_by_the_rank() -> None:
    found = build(nn.Linear(6, 8), LoraOptions(rs_lora=True))
    assert found is not None
    assert found.file_tensors()["alpha"].item() == 2 * 4**0.5


def test_tucker_cores_are_for_larger_convolutions_alone() -> None:
    lora = LoraOptions(conv_dim=2, use_tucker=True)
    small, large = build(nn.Conv2d(6, 8, 1), lora), build(CONV, lora)
    assert small is not None
    assert large is not None
    assert "hada_t1" not in small.file_tensors()
    assert large.file_tensors()["hada_t1"].shape == (2, 2, 3, 3)


def test_a_file_of_another_alpha_or_rank_is_an_error() -> None:
    first, second = build(nn.Linear(6, 8)), build(nn.Linear(6, 8), LoraOptions(rs_lora=True))
    assert first is not None
    assert second is not None
    with pytest.raises(DataError, match="alpha is 2 in the file and 4"):
        second.load_file_tensors(first.file_tensors())
    tensors = {**first.file_tensors(), "hada_w1_b": torch.zeros(5, 6)}
    with pytest.raises(DataError, match=r"hada_w1_b has shape \[5, 6\], here it is \[4, 6\]"):
        first.load_file_tensors(tensors)
