from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from loracore_networks import dylora
from loracore_networks.dylora.adapter import DyloraAdapter, build_dylora
from loracore_networks.dylora.options import DyloraOptions, findings
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Config, ConfigError, DataError, LoraTarget, NetworkOptions, SampleRng

RANK = 6


def config(unit: int = 2, lora: LoraOptions | None = None, network: NetworkOptions | None = None) -> Config:
    tables = [network or NetworkOptions(network_dim=RANK, network_alpha=3), lora or LoraOptions(conv_dim=RANK)]
    return Config([*tables, DyloraOptions(unit)], {})


def target(layer: nn.Linear | nn.Conv2d | None = None, rank: int | None = None) -> LoraTarget:
    return LoraTarget("lora_unet_x", (layer or nn.Linear(8, 5),), ("x",), "unet", rank=rank)


def trained(where: LoraTarget, unit: int = 2, lora: LoraOptions | None = None) -> DyloraAdapter:
    torch.manual_seed(3)
    adapter = build_dylora(where, None, config(unit, lora))
    assert adapter is not None
    nn.init.normal_(adapter.lora.up)
    return adapter


def rng(*positions: int) -> SampleRng:
    return SampleRng(0, "adapters", 0, positions)


def first_rank(position: int, unit: int) -> int:
    """Return the first rank that a sample trains: its own draw, rounded down to a multiple of the unit."""
    return int(rng(position).integers(0, RANK).item()) // unit * unit


def added(adapter: DyloraAdapter, where: LoraTarget, inputs: Tensor) -> Tensor:
    layer = where.layers[0]
    output: Tensor = adapter(0, inputs, layer(inputs), where.layers) - layer(inputs)
    return output


@pytest.mark.parametrize("layer", [nn.Linear(8, 5), nn.Conv2d(8, 5, 3)])
@pytest.mark.parametrize("unit", [1, 2, 3, 6])
def test_a_sample_gives_gradients_to_its_ranks_alone(layer: nn.Linear | nn.Conv2d, unit: int) -> None:
    inputs = torch.randn(1, 4, 8) if isinstance(layer, nn.Linear) else torch.randn(1, 8, 4, 4)
    for position in range(8):
        where = target(layer)
        adapter = trained(where, unit)
        adapter.draw_masks(rng(position))
        torch.autograd.backward(added(adapter, where, inputs).square().sum())
        down, up = adapter.lora.down.grad, adapter.lora.up.grad
        assert down is not None
        assert up is not None
        first = first_rank(position, unit)
        expected = [first <= rank < first + unit for rank in range(RANK)]
        assert down.flatten(1).any(1).tolist() == expected
        assert up.flatten(1).any(0).tolist() == expected


def test_all_ranks_are_in_the_sum_and_few_ranks_count_more() -> None:
    where = target()
    adapter, inputs = trained(where), torch.randn(8, 4, 8)
    whole = added(adapter, where, inputs)
    adapter.draw_masks(rng(*range(8)))
    factors = torch.tensor([math.sqrt(RANK / (first_rank(position, 2) + 2)) for position in range(8)])
    assert torch.allclose(added(adapter, where, inputs), whole * factors[:, None, None], atol=1e-5)
    assert len(set(factors.tolist())) == 3
    adapter.clear_masks()
    assert torch.equal(added(adapter, where, inputs), whole)


def test_gradients_of_the_drawn_ranks_are_those_of_the_plain_lora() -> None:
    where, inputs = target(), torch.randn(1, 4, 8)
    plain, some = trained(where), trained(where)
    some.draw_masks(rng(5))
    first, factor = first_rank(5, 2), math.sqrt(RANK / (first_rank(5, 2) + 2))
    torch.autograd.backward((added(plain, where, inputs) * factor).sum())
    torch.autograd.backward(added(some, where, inputs).sum())
    for one, other, ranks in ((some.lora.down, plain.lora.down, 0), (some.lora.up, plain.lora.up, 1)):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad.narrow(ranks, first, 2), other.grad.narrow(ranks, first, 2), atol=1e-5)


def test_what_stands_before_the_layer_gets_its_whole_gradient() -> None:
    where = target()
    adapter = trained(where)
    first, second = (torch.ones(2, 8, requires_grad=True) for _ in range(2))
    torch.autograd.backward(added(adapter, where, first).square().sum())
    adapter.draw_masks(rng(0, 1))
    factors = torch.tensor([math.sqrt(RANK / (first_rank(position, 2) + 2)) for position in (0, 1)])
    torch.autograd.backward(added(adapter, where, second).square().sum())
    assert first.grad is not None
    assert second.grad is not None
    assert torch.allclose(second.grad, first.grad * factors.square()[:, None], atol=1e-5)


def test_a_sample_draws_the_same_in_any_batch() -> None:
    where, inputs = target(), torch.ones(4, 8)
    adapter = trained(where)

    def found(*positions: int) -> Tensor:
        adapter.draw_masks(rng(*positions))
        return added(adapter, where, inputs[: len(positions)])

    assert torch.allclose(found(0, 1, 2, 3), torch.cat([found(0, 1), found(2, 3)]), atol=1e-6)


def test_rows_of_a_long_caption_share_their_samples_draw() -> None:
    where = target()
    adapter = trained(where)
    adapter.draw_masks(rng(*range(10)))
    rows = added(adapter, where, torch.ones(30, 7, 8))[:, 0].view(10, 3, 5)
    assert torch.equal(rows[:, 0], rows[:, 2])
    assert len(set(rows[:, 0, 0].tolist())) > 1


def test_dropped_ranks_stay_out_whichever_ranks_train() -> None:
    where = target()
    adapter = trained(where, 2, LoraOptions(rank_dropout=0.5))
    with torch.no_grad():
        adapter.lora.down.fill_(1 / 8)
        adapter.lora.up.fill_(2)
    adapter.draw_masks(rng(*range(50)))
    amounts = added(adapter, where, torch.ones(50, 8))[:, 0] / 2  # 2 for each rank that is kept, times the factor
    factors = [math.sqrt(RANK / top) for top in (2, 4, 6)]
    possible = torch.tensor([kept * factor for kept in range(RANK + 1) for factor in factors])
    assert all((possible - amount).abs().min() < 1e-4 for amount in amounts)
    assert len(set(amounts.detach().mul(1e3).round().tolist())) > len(factors)


def test_its_file_is_a_plain_lora() -> None:
    where = target()
    first = trained(where)
    plain = build_lora(where, first.file_tensors(), config())
    assert plain is not None
    plain.load_file_tensors(first.file_tensors())
    weights = [layer.weight for layer in where.layers]
    assert torch.equal(plain.weight_change(0, weights), first.weight_change(0, weights))


def test_a_rank_that_the_unit_does_not_divide_is_an_error_wherever_it_comes_from() -> None:
    with pytest.raises(ConfigError, match="unit = 2 does not divide the rank 3 of 'lora_unet_x'"):
        build_dylora(target(rank=3), None, config())


def test_a_file_with_tucker_factors_is_an_error() -> None:
    where = target(nn.Conv2d(8, 5, 3))
    tucker = build_lora(where, None, config(lora=LoraOptions(conv_dim=RANK, use_tucker=True)))
    assert tucker is not None
    with pytest.raises(DataError, match="Tucker"):
        build_dylora(where, tucker.file_tensors(), config())


@pytest.mark.parametrize(
    ("unit", "lora", "fate", "option"),
    [
        (4, LoraOptions(), "wrong", "unit"),
        (2, LoraOptions(conv_dim=3), "wrong", "unit"),
        (2, LoraOptions(conv_dim=RANK, use_tucker=True), "unsupported", "use_tucker"),
    ],
)
def test_options_that_do_not_go_together_are_refused(unit: int, lora: LoraOptions, fate: str, option: str) -> None:
    assert [(finding.fate, finding.option) for finding in findings(config(unit, lora))] == [(fate, option)]


def test_convolutions_may_have_a_rank_of_their_own() -> None:
    assert findings(config(2, LoraOptions(conv_dim=4))) == []


def test_the_default_rank_counts_and_a_files_ranks_are_left_to_the_file() -> None:
    assert [finding.option for finding in findings(config(3, LoraOptions(), NetworkOptions()))] == ["unit"]
    assert findings(config(3, network=NetworkOptions(dim_from_weights=True))) == []


def test_its_hooks_have_loras_options_and_findings() -> None:
    assert dylora.options() == (LoraOptions, DyloraOptions)
    wrong = replace(LoraOptions(), conv_dim=5)
    assert [finding.option for finding in dylora.check_options(config(2, wrong))] == ["unit"]
    assert isinstance(dylora.build_adapter(target(), None, config()), DyloraAdapter)
