from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import T5EncoderModel

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.diffusion.text.t5_encoder import GatedMlp, build_t5, t5_blocks, t5_precision
from loracore.memory.fitting import fit_models
from loracore.memory.float8 import linear_layers
from loracore.testing import tiny_models
from loracore.types import Models

CPU = torch.device("cpu")
FP8 = torch.float8_e4m3fn


@pytest.fixture
def library() -> T5EncoderModel:
    torch.manual_seed(0)
    return tiny_models.t5_encoder(16)


def ours(library: T5EncoderModel) -> nn.Module:
    """Return our encoder with the library's weights."""
    encoder: nn.Module = build_t5(library.config.to_dict())
    encoder.load_state_dict(library.state_dict(), assign=True)
    return encoder.eval()


def fill_t5(library: T5EncoderModel, dtype: torch.dtype) -> nn.Module:
    """Return our encoder as a run loads it in this precision."""
    encoder, precision = ours(library), t5_precision(None, dtype)
    for name, tensor in encoder.named_parameters():
        tensor.data = tensor.data.to(precision.of(name, matrix="layer_norm" not in name, in_fp8=False), copy=True)
    return encoder


def states(encoder: nn.Module) -> Tensor:
    with torch.no_grad():
        answer: Tensor = encoder(input_ids=torch.arange(12).reshape(2, 6)).last_hidden_state
    return answer


def test_our_encoder_says_what_the_librarys_says(library: T5EncoderModel) -> None:
    torch.testing.assert_close(states(ours(library)), states(library), rtol=0, atol=0)


def test_both_names_of_the_embedding_are_one_parameter_after_a_cast(library: T5EncoderModel) -> None:
    encoder = ours(library).to(torch.bfloat16)
    assert encoder.get_parameter("encoder.embed_tokens.weight") is encoder.get_parameter("shared.weight")


def test_blocks_are_listed(library: T5EncoderModel) -> None:
    assert len(t5_blocks(ours(library))) == 2


def test_product_with_a_wide_matrix_is_made_in_float32(library: T5EncoderModel) -> None:
    mlp = ours(library).get_submodule("encoder.block.0.layer.1.DenseReluDense").half()
    assert isinstance(mlp, GatedMlp)
    mlp.wo.float()
    nn.init.constant_(mlp.wo.weight, 1e5)  # beyond float16
    out = mlp(torch.ones(1, 1, 16, dtype=torch.float16))
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize(("hidden", "seen"), [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)])
def test_hidden_states_are_never_cast_down_to_fp8(
    library: T5EncoderModel, hidden: torch.dtype, seen: torch.dtype
) -> None:
    mlp = ours(library).get_submodule("encoder.block.0.layer.1.DenseReluDense").to(hidden)
    assert isinstance(mlp, GatedMlp)
    mlp.wo.weight.data = mlp.wo.weight.data.to(FP8)
    reached: list[torch.dtype] = []

    def product(input: Tensor) -> Tensor:  # noqa: A002  # the library's name
        reached.append(input.dtype)
        return input

    mlp.wo.forward = product  # type: ignore[method-assign]  # in place of the core's product with fp8
    mlp(torch.ones(1, 1, 16, dtype=hidden))
    assert reached == [seen]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_encoder_stored_in_fp8_says_what_rounded_weights_say(library: T5EncoderModel, dtype: torch.dtype) -> None:
    whole = states(ours(library))
    stored, rounded = (fill_t5(library, dtype) for _ in range(2))
    for layer in linear_layers(t5_blocks(rounded)):
        layer.weight.data = layer.weight.data.to(FP8).to(layer.weight.dtype)
    models = Models(text={"te3": stored}, blocks={"te3": t5_blocks(stored)})
    fit_models(models, CPU, torch.float16, Config([ModelOptions(fp8_base=True)], {}))
    assert {layer.weight.dtype for layer in linear_layers(t5_blocks(stored))} == {FP8}
    found = states(stored).float()
    torch.testing.assert_close(found, states(rounded).float(), rtol=1e-3, atol=1e-3)
    assert (found - whole).norm() < 0.1 * whole.norm()


@pytest.mark.parametrize(
    ("chosen", "dtype", "matrix", "wide", "rest"),
    [
        (None, torch.float16, FP8, FP8, torch.float16),
        ("fp16", torch.bfloat16, torch.float16, torch.float32, torch.float16),
        ("bf16", torch.float16, torch.bfloat16, torch.bfloat16, torch.bfloat16),
        ("fp8_e4m3fn", torch.bfloat16, FP8, FP8, torch.bfloat16),
    ],
)
def test_precision_of_a_file_in_fp8(
    chosen: str | None, dtype: torch.dtype, matrix: torch.dtype, wide: torch.dtype, rest: torch.dtype
) -> None:
    precision = t5_precision(chosen, dtype)
    assert precision.of("q.weight", matrix=True, in_fp8=True) == matrix
    assert precision.of("mlp.wo.weight", matrix=True, in_fp8=True) == wide
    assert precision.of("norm.weight", matrix=False, in_fp8=True) == rest
