from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.linear import QuantisedLinear, quantised_layers, stored_tensors
from loracore.memory.quantised.storing import quantise

EVERY_FORM = pytest.mark.parametrize("form", FORMS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def linear(*, bias: bool = True, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 32, bias=bias, dtype=dtype).requires_grad_(requires_grad=False)


def stored(form: str, *, bias: bool = True, dtype: torch.dtype = torch.float32) -> QuantisedLinear:
    layer = linear(bias=bias, dtype=dtype)
    quantise([layer], FORMS[form], None, dtype)
    assert isinstance(layer, QuantisedLinear)
    return layer


def widened(layer: QuantisedLinear) -> nn.Linear:
    """Return an ordinary Linear with the numbers that are stored."""
    wide = linear(bias=layer.bias is not None, dtype=layer.original.dtype)
    wide.weight.data = layer.read()
    return wide


def entering(dtype: torch.dtype) -> Tensor:
    return torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


@EVERY_FORM
@DTYPES
@pytest.mark.parametrize("bias", [True, False])
def test_answers_and_gradients_are_those_of_the_stored_numbers(form: str, dtype: torch.dtype, bias: bool) -> None:
    layer, inputs, expected_inputs = stored(form, bias=bias, dtype=dtype), entering(dtype), entering(dtype)
    output, expected = layer(inputs), widened(layer)(expected_inputs)
    assert torch.equal(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    assert inputs.grad is not None
    assert expected_inputs.grad is not None
    # A product of another shape may add up in another order.
    assert torch.allclose(inputs.grad, expected_inputs.grad, rtol=0, atol=expected_inputs.grad.abs().max().item() / 200)


@EVERY_FORM
def test_nothing_wide_is_kept_for_the_backward_pass(form: str) -> None:
    layer, kept = stored(form), list[int]()

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(entering(torch.float32))
    assert kept == [tensor.data_ptr() for tensor in stored_tensors(layer)]


@EVERY_FORM
def test_no_wide_weight_is_left(form: str) -> None:
    layer = stored(form, dtype=torch.bfloat16)
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert sum(tensor.nbytes for tensor in layer.buffers()) < 48 * 32 * 2
    assert [found for _, found in quantised_layers(layer)] == [layer]


@EVERY_FORM
@DTYPES
def test_who_asks_for_the_weight_is_told_what_it_stands_for(form: str, dtype: torch.dtype) -> None:
    layer = stored(form, dtype=dtype)
    assert layer.weight.shape == (32, 48)
    assert len(layer.weight) == 32
    assert (layer.weight.dtype, layer.weight.device, layer.weight.is_meta) == (dtype, torch.device("cpu"), False)
    assert torch.equal(layer.weight.detach().float(), layer.read().float())
    assert torch.equal(layer.weight[3:5] @ torch.ones(48, dtype=dtype), layer.read()[3:5] @ torch.ones(48, dtype=dtype))


@EVERY_FORM
def test_its_state_has_the_names_and_shapes_of_any_linear(form: str) -> None:
    found, expected = stored(form).state_dict(), linear().state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_the_weight_cannot_be_written_to() -> None:
    layer = stored("int8")
    with pytest.raises(TypeError, match="stored in fewer bits"):
        layer.weight.mul_(2)
    with pytest.raises(KeyError, match="weight"):
        layer.weight = nn.Parameter(torch.zeros(32, 48))  # type: ignore[misc]  # what is tried


def test_the_weight_can_be_read_into_other_tensors() -> None:
    layer = stored("int8")
    assert torch.equal(torch.zeros(32, 48).copy_(layer.weight), layer.read())
    assert torch.equal(torch.ones(32, 48).add_(layer.weight), layer.read() + 1)
    with pytest.raises(TypeError, match="stored in fewer bits"):
        torch.add(layer.read(), 1, out=layer.weight)


def test_only_wanted_gradients_are_computed() -> None:
    layer, wide = stored("int8"), widened(stored("int8"))
    for one in (layer, wide):
        one.bias.requires_grad_()
        one(entering(torch.float32).detach()).square().sum().backward()
    assert layer.bias.grad is not None
    assert wide.bias.grad is not None
    assert torch.allclose(layer.bias.grad, wide.bias.grad)


def test_the_precision_is_that_of_the_inputs() -> None:
    assert stored("int8", dtype=torch.bfloat16)(entering(torch.float32)).dtype == torch.float32


def test_a_float8_weight_is_read_in_the_runs_precision() -> None:
    layer = linear()
    layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
    quantise([layer], FORMS["nf4"], None, torch.bfloat16)
    assert layer.weight.dtype == torch.bfloat16
    assert layer(entering(torch.bfloat16)).isfinite().all()


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@EVERY_FORM
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does
def test_it_can_be_compiled_whole(form: str) -> None:
    layer, inputs, expected_inputs = stored(form), entering(torch.float32), entering(torch.float32)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    output, expected = compiled(inputs), layer(expected_inputs)
    assert torch.allclose(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    assert inputs.grad is not None
    assert expected_inputs.grad is not None
    assert torch.allclose(inputs.grad, expected_inputs.grad)
