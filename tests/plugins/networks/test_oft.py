from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from loracore_networks.oft.building import build_oft
from loracore_networks.oft.options import OftOptions, findings
from torch import Tensor, nn

from loracore import Adapter, Config, ConfigError, DataError, LoraTarget, NetworkOptions


def build(
    layer: nn.Linear | nn.Conv2d, blocks: int = 4, constraint: float | None = 0.0, *, conv: bool = False
) -> Adapter | None:
    target = LoraTarget("lora_unet_x", (layer,), ("x",), "unet")
    network = NetworkOptions(network_dim=blocks, network_alpha=constraint)
    return build_oft(target, Config([network, OftOptions(enable_conv=conv)], {}))


def turned(adapter: Adapter | None) -> Adapter:
    assert adapter is not None
    torch.manual_seed(3)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return adapter


def read_as_comfyui_does(tensors: dict[str, Tensor], weight: Tensor) -> Tensor:
    """Return W' - W: the bound is alpha itself there, not alpha times the outputs."""
    blocks, alpha = tensors["oft_blocks"], tensors["alpha"]
    skew = blocks - blocks.mT
    if alpha > 0 and skew.norm() > alpha:
        skew = skew * alpha / skew.norm()
    unit = torch.eye(blocks.shape[-1])
    rotation = (unit + skew) @ (unit - skew).inverse()
    return torch.einsum("knm,knc->kmc", rotation, weight.view(*blocks.shape[:2], -1)).reshape(weight.shape) - weight


@pytest.mark.parametrize("constraint", [0.0, 1e-3, None])
def test_files_mean_the_same_to_other_readers(constraint: float | None) -> None:
    layer = nn.Linear(6, 16)
    adapter, weight = turned(build(layer, constraint=constraint)), layer.weight.detach()
    change = adapter.weight_change(0, [weight])
    assert torch.allclose(read_as_comfyui_does(dict(adapter.file_tensors()), weight), change, atol=1e-6)


def test_the_dimension_is_the_number_of_blocks() -> None:
    adapter = turned(build(nn.Linear(6, 16), blocks=2))
    assert adapter.file_tensors()["oft_blocks"].shape == (2, 8, 8)
    assert adapter.rank == 2


def test_rotated_rows_keep_the_norm_of_their_block() -> None:
    layer = nn.Linear(6, 16)
    change = turned(build(layer)).weight_change(0, [layer.weight])
    before, after = layer.weight.view(4, 4, 6), (layer.weight + change).view(4, 4, 6)
    assert torch.allclose(before.norm(dim=1), after.norm(dim=1), atol=1e-5)


def test_blocks_that_do_not_divide_a_layer_are_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="'lora_unet_x' has 20 outputs, which 8 blocks do not divide") as caught:
        build(nn.Linear(6, 20), blocks=8)
    assert caught.value.problems[0].fix == "give 5 or 10"


def test_larger_convolutions_wait_for_enable_conv() -> None:
    layer = nn.Conv2d(6, 16, 3)
    assert build(layer) is None
    assert build(layer, conv=True) is not None


def test_a_file_that_turns_further_than_the_constraint_is_an_error() -> None:
    far, bound = turned(build(nn.Linear(6, 16))), turned(build(nn.Linear(6, 16), constraint=1e-3))
    bound.load_file_tensors(bound.file_tensors())
    with pytest.raises(DataError, match=r"turn by .*, this run's by 0.001 at most"):
        bound.load_file_tensors(far.file_tensors())


def test_what_does_nothing_or_cannot_be_is_said() -> None:
    config = Config([NetworkOptions(scale_weight_norms=1.0), OftOptions()], {"enable_all_linear": "x"})
    found = [(one.fate, one.option) for one in findings(config)]
    assert found == [("unsupported", "scale_weight_norms"), ("without effect", "enable_all_linear")]


def test_a_number_of_blocks_for_a_place_asks_for_its_convolution() -> None:
    layer = nn.Conv2d(4, 8, 3)
    named = LoraTarget("lora_unet_x", (layer,), ("x",), "unet", rank=2)
    config = Config([NetworkOptions(network_dim=4), OftOptions()], {})
    found = build_oft(named, config)
    assert found is not None
    assert found.rank == 2
    assert build_oft(replace(named, rank=None), config) is None


def test_a_wrong_number_of_blocks_is_placed_where_it_was_given() -> None:
    named = LoraTarget("lora_unet_x", (nn.Linear(4, 8),), ("x",), "unet", rank=3)
    with pytest.raises(ConfigError) as caught:
        build_oft(named, Config([NetworkOptions(network_dim=4), OftOptions()], {}))
    assert caught.value.problems[0].where == "--network_args"
