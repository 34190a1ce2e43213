from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from loracore.memory.checkpointing import checkpoint_blocks
from loracore.memory.float8 import FLOAT8, compute_in_input_dtype, linear_layers, store_weights
from tests.loracore.memory.adapted import adapt, equal, gradients, models_of
from tests.loracore.memory.stack import Stack

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def rounded(stack: Stack) -> Stack:
    """Round the weights to what float8 can hold, in the precision that they have."""
    for layer in linear_layers(stack.blocks):
        layer.weight.data = layer.weight.data.to(FLOAT8).to(layer.weight.dtype)
    return stack


def stored(stack: Stack, dtype: torch.dtype = torch.float32) -> Stack:
    layers = list(linear_layers(stack.blocks))
    store_weights(layers)
    compute_in_input_dtype(stack, layers, dtype)
    return stack


def frozen(dtype: torch.dtype = torch.float32) -> Stack:
    return Stack(3).requires_grad_(requires_grad=False).to(dtype)


def bytes_of(stack: Stack) -> int:
    return sum(parameter.nbytes for parameter in stack.blocks.parameters())


@DTYPES
def test_matrices_take_one_byte_a_number_and_nothing_else_changes(dtype: torch.dtype) -> None:
    stack = stored(frozen(dtype), dtype)
    for name, tensor in (*stack.named_parameters(), *stack.named_buffers()):
        matrix = name.startswith("blocks.") and name.endswith(("widen.weight", "narrow.weight"))
        assert tensor.dtype == (FLOAT8 if matrix else dtype), name
    numbers = sum(layer.weight.numel() for layer in linear_layers(stack.blocks))
    assert bytes_of(frozen(dtype)) - bytes_of(stack) == numbers * (dtype.itemsize - 1)


@DTYPES
def test_answers_are_those_of_weights_cast_beforehand(dtype: torch.dtype) -> None:
    layer, inputs = nn.Linear(5, 4).to(dtype), torch.randn(2, 3, 5).to(dtype)
    layer.weight.data = layer.weight.data.to(FLOAT8).to(dtype)
    expected = layer(inputs)
    store_weights([layer])
    compute_in_input_dtype(layer, [layer], dtype)
    assert layer.weight.element_size() == 1
    assert torch.equal(layer(inputs), expected)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_are_those_of_weights_cast_beforehand(checkpointed: bool) -> None:
    def found(stack: Stack) -> list[Tensor]:
        models_of(stack, list(stack.blocks))
        if checkpointed:
            checkpoint_blocks(stack.blocks)
        return gradients(adapt(list(stack.blocks)), stack.answer)

    assert equal(found(stored(frozen())), found(rounded(frozen())))


def test_no_weight_is_kept_in_high_precision_for_the_backward_pass() -> None:
    layer, kept = nn.Linear(64, 64).requires_grad_(requires_grad=False), []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.dtype)
        return tensor

    store_weights([layer])
    compute_in_input_dtype(layer, [layer], torch.float32)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.ones(1, 64, requires_grad=True))
    assert kept == [FLOAT8]


def test_the_precision_is_that_of_the_inputs_not_of_the_bias() -> None:
    layer = nn.Linear(3, 2).to(torch.bfloat16)
    store_weights([layer])
    compute_in_input_dtype(layer, [layer], torch.bfloat16)
    assert layer(torch.ones(1, 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("before", "after"),
    [(torch.float32, FLOAT8), (torch.float16, FLOAT8), (torch.bfloat16, FLOAT8), (torch.float8_e5m2,) * 2],
)
def test_matrices_of_every_wider_precision_are_stored(before: torch.dtype, after: torch.dtype) -> None:
    layer = nn.Linear(3, 2).requires_grad_(requires_grad=False).to(before)
    store_weights([layer])
    assert layer.weight.dtype == after


def test_a_float8_file_computes_with_its_own_matrices() -> None:
    stack, expected = frozen().to(FLOAT8).eval(), frozen().to(FLOAT8).to(torch.float32).eval()
    compute_in_input_dtype(stack, list(linear_layers(stack.blocks)), torch.float32)
    assert stack.blocks[0].get_submodule("widen").get_parameter("weight").dtype == FLOAT8
    assert stack.enter.weight.dtype == torch.float32
    assert torch.equal(stack.answer(), expected.answer())


def test_activations_in_float8_are_refused() -> None:
    layer = nn.Linear(3, 2)
    store_weights([layer])
    compute_in_input_dtype(layer, [layer], torch.float32)
    with pytest.raises(TypeError, match="follows the dtype of its weight"):
        layer(torch.ones(1, 3).to(FLOAT8))
