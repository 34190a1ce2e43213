"""Grouped layers give what the plain formula gives: output + up(down(inputs)) · alpha / rank · multiplier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType

import pytest
import torch
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora_fa.adapter import LoraFaAdapter
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from loracore import LoraTarget
from loracore.memory.block_swap import swap_blocks
from loracore.memory.checkpointing import checkpoint_blocks
from loracore.networks.grouped import is_plain, project
from loracore.networks.masks import Dropouts
from loracore.networks.network import Entry, Network
from loracore.speed.compiling import Compiler
from loracore.speed.news import News
from tests.loracore.memory.adapted import CPU, equal

INPUTS = 6


@dataclass(frozen=True)
class Case:
    """Layers that get the same inputs, and their adapters."""

    widths: tuple[int, ...] = (8, 8, 8)
    ranks: tuple[int, ...] = (3, 3, 3)  # 0: no adapter
    alphas: tuple[float, ...] = (2.0, 2.0, 2.0)
    bias: bool = True
    shape: tuple[int, ...] = (2, 5, INPUTS)
    inputs_train: bool = True
    multiplier: float = 1.0
    kind: str = "apart"  # each layer has a target; "fused": one for all; "separate": one, with factors each


CASES = MappingProxyType(
    {
        "three": Case(),
        "three without bias": Case(bias=False),
        "two": Case((8, 8), (3, 3), (2.0, 2.0)),
        "one": Case((8,), (3,), (2.0,)),
        "one without bias": Case((8,), (3,), (2.0,), bias=False),
        "inputs without gradient": Case(inputs_train=False),
        "one input without gradient": Case((8,), (3,), (2.0,), inputs_train=False),
        "ranks that differ": Case(ranks=(3, 2, 3)),
        "alphas that differ": Case(alphas=(2.0, 1.0, 2.0)),
        "widths that differ": Case(widths=(8, 4, 4)),
        "a missing adapter": Case(ranks=(3, 0, 3)),
        "multiplied": Case(multiplier=0.7),
        "multiplied by nothing": Case(multiplier=0.0),
        "matrices": Case(shape=(7, INPUTS)),
        "four dimensions": Case(shape=(2, 3, 4, INPUTS)),
        "fused": Case(kind="fused"),
        "fused widths that differ": Case(widths=(8, 4, 4), kind="fused"),
        "fused without gradient": Case(kind="fused", inputs_train=False),
        "separate": Case(kind="separate"),
    }
)


def layers_of(case: Case, dtype: torch.dtype = torch.float64) -> list[nn.Linear]:
    torch.manual_seed(0)
    layers = [nn.Linear(INPUTS, width, bias=case.bias, dtype=dtype) for width in case.widths]
    return [layer.requires_grad_(requires_grad=False) for layer in layers]


def network_of(case: Case, layers: Sequence[nn.Linear], dtype: torch.dtype = torch.float64) -> Network:
    if case.kind == "apart":
        targets = [
            (LoraTarget(f"lora_unet_{n}", (layer,), (str(n),), "unet"), case.ranks[n], case.alphas[n])
            for n, layer in enumerate(layers)
            if case.ranks[n]
        ]
    else:
        whole = LoraTarget("lora_unet_x", tuple(layers), tuple("qkv"), "unet", separate=case.kind == "separate")
        targets = [(whole, case.ranks[0], case.alphas[0])]
    network = Network([Entry(one, LoraAdapter(one, rank, alpha, Dropouts())) for one, rank, alpha in targets])
    generator = torch.Generator().manual_seed(1)
    network.modules.to(dtype)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, generator=generator)
    network.scale_outputs(case.multiplier)
    return network


def plainly(network: Network, layers: Sequence[nn.Linear], inputs: Tensor, multiplier: float) -> list[Tensor]:
    """The formula, layer by layer, from the numbers that a file would hold."""
    places = {id(layer): (entry, n) for entry in network.entries for n, layer in enumerate(entry.target.layers)}
    outputs = []
    for layer in layers:
        output = functional.linear(inputs, layer.weight, layer.bias)
        if id(layer) in places:
            entry, index = places[id(layer)]
            output = output + multiplier * _added(entry, index, inputs)
        outputs.append(output)
    return outputs


def _added(entry: Entry, index: int, inputs: Tensor) -> Tensor:
    adapter = entry.adapter
    assert isinstance(adapter, LoraAdapter)
    widths = [len(layer.weight) for layer in entry.target.layers]
    up = torch.split(adapter.up, widths)[index]
    down = torch.split(adapter.down, adapter.rank)[index] if entry.target.separate else adapter.down
    return functional.linear(functional.linear(inputs, down), up) * (adapter.alpha_value / adapter.rank)


def outcome(network: Network, inputs: Tensor, call: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor | None]:
    """Outputs, and the gradients of inputs and factors."""
    for one in (inputs, *network.modules.parameters()):
        one.grad = None
    outputs = call(inputs)
    loss = torch.stack(
        [(output * torch.linspace(-1, 1, output.shape[-1]).to(output)).sin().sum() for output in outputs]
    )
    loss.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    gradients = [one.grad for one in (inputs, *network.modules.parameters())]
    return [*outputs, *(None if one is None else one.clone() for one in gradients)]


def inputs_of(case: Case, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(case.shape, dtype=torch.float64).to(dtype).requires_grad_(case.inputs_train)


@contextmanager
def attached(network: Network, together: Sequence[Sequence[nn.Module]] = (), *, prepared: bool) -> Iterator[None]:
    network.attach(together)
    try:
        with network.prepared() if prepared else nullcontext():
            yield
    finally:
        network.detach()


def assert_close(found: Sequence[Tensor | None], expected: Sequence[Tensor | None], tolerance: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:
            assert one is other
        else:
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("called", ["together", "one by one", "not declared"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_all_gradients_are_those_of_the_formula(name: str, called: str, prepared: bool) -> None:
    case = CASES[name]
    layers = layers_of(case)
    network, inputs = network_of(case, layers), inputs_of(case)
    expected = outcome(network, inputs, lambda given: plainly(network, layers, given, case.multiplier))

    def call(given: Tensor) -> Sequence[Tensor]:
        return [layer(given) for layer in layers] if called == "one by one" else project(layers, given)

    with attached(network, [] if called == "not declared" else [layers], prepared=prepared):
        assert not any(is_plain(layer) for layer, rank in zip(layers, case.ranks, strict=True) if rank)
        found = outcome(network, inputs, call)
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("name", ["three", "one", "fused", "separate"])
def test_outputs_may_be_changed_in_place(name: str) -> None:
    case = CASES[name]
    layers = layers_of(case)
    network, inputs = network_of(case, layers), inputs_of(case)
    expected = outcome(network, inputs, lambda given: [one * 3 + 1 for one in plainly(network, layers, given, 1.0)])
    with attached(network, [layers], prepared=True):
        found = outcome(network, inputs, lambda given: [one.mul_(3).add_(1) for one in project(layers, given)])
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("name", ["three", "one", "fused", "separate"])
def test_memory_that_nobody_wrote_is_never_read(name: str) -> None:
    case = CASES[name]
    layers = layers_of(case)
    network, inputs = network_of(case, layers), inputs_of(case)
    torch.use_deterministic_algorithms(mode=True)  # fills what is empty with NaN
    try:
        with attached(network, [layers], prepared=True):
            found = outcome(network, inputs, lambda given: project(layers, given))
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert all(one is not None and one.isfinite().all() for one in found)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", ["three", "one", "fused"])
def test_bfloat16_layers_with_float32_factors_are_right_within_rounding(name: str, prepared: bool) -> None:
    case = replace(CASES[name], shape=(4, 32, INPUTS))
    layers = layers_of(case, torch.bfloat16)
    network, inputs = network_of(case, layers, torch.float32), inputs_of(case, torch.bfloat16)
    with attached(network, [layers], prepared=prepared):
        found = outcome(network, inputs, lambda given: project(layers, given))
    precise = [layer.double() for layer in layers]
    network.modules.double()
    expected = outcome(
        network,
        inputs.detach().double().requires_grad_(),
        lambda given: plainly(network, precise, given, case.multiplier),
    )
    dtypes = [one.dtype for one in found if one is not None]
    assert dtypes == [torch.bfloat16] * (len(layers) + 1) + [torch.float32] * (len(found) - len(layers) - 1)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        # 8 bits of precision: outputs of up to 16 are rounded by up to 0.03, and the loss is their sine.
        assert (one.double() - other).norm() < 0.05 * other.norm()


def test_copies_live_in_their_context_alone() -> None:
    case = CASES["three"]
    layers = layers_of(case)
    network, inputs = network_of(case, layers), inputs_of(case)
    network.attach([layers])
    with network.prepared():
        with network.prepared():
            inner = project(layers, inputs)[0]
        before = project(layers, inputs)[0]
        with torch.no_grad():
            next(network.modules.parameters()).mul_(2)
        stale = project(layers, inputs)[0]
    assert torch.equal(inner, before)
    assert torch.equal(stale, before)  # that nobody may do this inside is what `prepared` says
    assert not torch.equal(project(layers, inputs)[0], before)


def test_copies_serve_on_where_no_gradients_are_wanted() -> None:
    case = CASES["three"]
    layers = layers_of(case, torch.float32)
    network, inputs = network_of(case, layers, torch.float32), inputs_of(case, torch.float32)
    network.attach([layers])
    with network.prepared(), torch.no_grad():
        before = project(layers, inputs)[0]
        next(network.modules.parameters()).mul_(2)  # nobody may; it shows who copies again
        with network.prepared():
            assert torch.equal(project(layers, inputs)[0], before)
    with torch.no_grad(), network.prepared(), torch.enable_grad(), network.prepared():
        assert project(layers, inputs.detach())[0].requires_grad


def test_what_is_not_used_has_no_gradient() -> None:
    case = CASES["three"]
    layers, others = layers_of(case), layers_of(case)
    network = network_of(case, [*layers, *others][:3])
    unused = network_of(case, others)
    both = Network([*network.entries, *unused.entries])
    with attached(both, [layers, others], prepared=True):
        project(layers, inputs_of(case))[0].sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert all(parameter.grad is not None for parameter in network.modules.parameters())
    assert all(parameter.grad is None for parameter in unused.modules.parameters())


def kept(network: Network, layers: Sequence[nn.Linear], inputs: Tensor) -> list[tuple[int, ...]]:
    """The shapes of what is kept for the backward pass."""
    shapes: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with attached(network, [layers], prepared=True), saved_tensors_hooks(pack, lambda tensor: tensor):
        project(layers, inputs)
    return shapes


def test_inputs_hidden_states_and_factors_are_kept_and_weights_where_they_are_needed() -> None:
    case = CASES["three without bias"]
    layers = layers_of(case)
    factors = [(9, INPUTS), (3, 8, 3)]
    assert kept(network_of(case, layers), layers, inputs_of(case)) == [
        (2, 5, INPUTS),
        (10, 9),
        *factors,
        *[(8, INPUTS)] * 3,
    ]
    without = replace(case, inputs_train=False)
    assert kept(network_of(case, layers), layers, inputs_of(without)) == [(2, 5, INPUTS), (10, 9), factors[1]]


def test_frozen_down_factors_need_no_inputs() -> None:
    layers = layers_of(CASES["three without bias"])
    targets = [LoraTarget(f"lora_unet_{n}", (layer,), (str(n),), "unet") for n, layer in enumerate(layers)]
    network = Network([Entry(one, LoraFaAdapter(LoraAdapter(one, 3, 2.0, Dropouts()))) for one in targets])
    network.modules.double()
    assert kept(network, layers, inputs_of(Case(inputs_train=False))) == [(10, 9)]


def test_layers_that_train_keep_the_plain_path() -> None:
    case = CASES["one"]
    layers = [layer.requires_grad_() for layer in layers_of(case)]
    network = network_of(case, layers)
    with attached(network, [layers], prepared=True):
        project(layers, inputs_of(case))[0].sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert layers[0].weight.grad is not None


def first_number(inputs: Tensor) -> Tensor:
    return inputs[..., :1]


def test_a_layer_that_something_else_shadows_is_called_by_itself() -> None:
    case = CASES["three"]
    layers, inputs = layers_of(case), inputs_of(case)
    network = network_of(case, layers)
    with attached(network, [layers], prepared=False):
        former = layers[1].forward
        layers[1].forward = first_number  # type: ignore[assignment]  # as an extension may
        assert torch.equal(project(layers, inputs)[1], inputs[..., :1])
        layers[1].forward = former  # type: ignore[method-assign]  # as extensions do


def test_silenced_layers_are_as_they_were_and_so_are_detached_ones() -> None:
    case = CASES["three"]
    layers, inputs = layers_of(case), inputs_of(case)
    plain = [layer(inputs) for layer in layers]
    network = network_of(case, layers)
    network.attach([layers])
    with torch.no_grad(), network.silenced():
        assert all(map(torch.equal, project(layers, inputs), plain))
        assert torch.equal(layers[1](inputs), plain[1])
    assert not torch.equal(project(layers, inputs)[0], plain[0])
    network.detach()
    assert all(map(torch.equal, project(layers, inputs), plain))


class Mixing(nn.Module):
    """A block that calls three layers with the same inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers_of(CASES["three"], torch.float32))
        self.back = nn.Linear(8, INPUTS).requires_grad_(requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (…,in)."""
        first, second, third = project(list(self.layers), inputs)
        mixed: Tensor = self.back(first.sin() * second + third)
        return mixed


@pytest.mark.parametrize("spared", ["checkpointed", "swapped"])
@pytest.mark.parametrize("prepared", [False, True])
def test_blocks_that_forget_give_the_same_gradients_bit_by_bit(spared: str, prepared: bool) -> None:
    def gradients(spared: str) -> list[Tensor | None]:
        blocks = [Mixing() for _ in range(4)]
        if spared == "checkpointed":
            checkpoint_blocks(blocks)
        elif spared == "swapped":
            swap_blocks(blocks, 2, CPU)
        networks = [network_of(CASES["three"], list(block.layers), torch.float32) for block in blocks]  # type: ignore[arg-type]  # Linear, all of them
        network = Network([entry for one in networks for entry in one.entries])
        with attached(network, [list(block.layers) for block in blocks], prepared=prepared):
            return outcome(network, inputs_of(CASES["three"], torch.float32), lambda given: [_through(blocks, given)])

    found, expected = gradients(spared), gradients("")
    assert equal([one for one in found if one is not None], [one for one in expected if one is not None])


def _through(blocks: Sequence[nn.Module], inputs: Tensor) -> Tensor:
    for block in blocks:
        inputs = inputs + block(inputs)
    return inputs


def test_compiled_blocks_share_a_graph_and_give_the_same_gradients() -> None:
    def gradients(*, compiled: bool) -> list[Tensor | None]:
        blocks = [Mixing().double() for _ in range(3)]
        layers = [list(block.layers) for block in blocks]
        networks = [network_of(CASES["three"], one) for one in layers]  # type: ignore[arg-type]  # Linear, all of them
        network = Network([entry for one in networks for entry in one.entries])
        if compiled:
            Compiler("aot_eager", News()).take(blocks)
        with attached(network, layers, prepared=True):
            return outcome(network, inputs_of(CASES["three"]), lambda given: [_through(blocks, given)])

    before = counters["stats"]["unique_graphs"]
    assert_close(gradients(compiled=True), gradients(compiled=False), 1e-10)
    assert counters["stats"]["unique_graphs"] - before == 1
