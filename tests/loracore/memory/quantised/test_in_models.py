"""Models whose matrices are stored in fewer bits, with everything else that a run does to make a model fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loracore_networks.dora.adapter import build_dora
from loracore_networks.dora.options import DoraOptions
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Config, ConfigError, LoraTarget, Models, NetworkOptions
from loracore.memory.fitting import fit_models, load_device, store_weights, unneeded
from loracore.memory.float8 import FLOAT8, linear_layers
from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.linear import QuantisedLinear, quantised_layers, stored_tensors
from loracore.networks.network import build_network
from tests.loracore.memory.adapted import CPU, equal, gradients_with, memory_config, models_of
from tests.loracore.memory.stack import Stack

EVERY_FORM = pytest.mark.parametrize("form", FORMS)
FLOAT32 = torch.float32
CARD, META = torch.device("cuda", 0), torch.device("meta")


def stack_models() -> Models:
    stack = Stack(6).eval()
    return models_of(stack, list(stack.blocks))


def fitted(form: str, **more: Any) -> Stack:
    models = stack_models()
    fit_models(models, CPU, FLOAT32, memory_config(base_model_precision=form, **more))
    assert isinstance(models.denoiser, Stack)
    return models.denoiser


def found(form: str, **more: Any) -> list[Tensor]:
    models = stack_models()
    assert isinstance(models.denoiser, Stack)
    return gradients_with(models, models.denoiser.answer, base_model_precision=form, **more)


@EVERY_FORM
def test_matrices_of_the_blocks_are_stored_and_nothing_else_changes(form: str) -> None:
    stack, plain = fitted(form), Stack(6)
    stored = {f"{name}.weight" for name, _ in quantised_layers(stack)}
    assert stored == {name for name, _ in plain.named_parameters() if name.endswith(("widen.weight", "narrow.weight"))}
    kept = dict(stack.named_parameters())
    expected = {name: tensor for name, tensor in plain.named_parameters() if name not in stored}
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in expected.items())


@EVERY_FORM
@pytest.mark.parametrize(
    "more",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "cpu_offload_checkpointing": True},
        {"blocks_to_swap": 1},
        {"blocks_to_swap": 4},
        {"blocks_to_swap": 2, "gradient_checkpointing": True},
        {"lowram": True},
    ],
)
def test_with_all_else_that_spares_memory_gradients_are_bitwise_the_same(form: str, more: dict[str, Any]) -> None:
    assert equal(found(form, **more), found(form))


@EVERY_FORM
def test_stored_tensors_of_waiting_blocks_wait_with_the_rest(form: str) -> None:
    stack = fitted(form, blocks_to_swap=1)
    waiting = [
        block for block in stack.blocks if len({t.untyped_storage().data_ptr() for t in block.parameters()}) == 1
    ]
    assert len(waiting) == 3
    for block in waiting:
        places = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), *stored_tensors(block))}
        assert len(places) == 1


@EVERY_FORM
def test_previews_swap_too(form: str) -> None:
    with torch.no_grad():
        assert torch.equal(fitted(form, blocks_to_swap=4).answer(), fitted(form).answer())


@EVERY_FORM
def test_adapters_that_look_at_weights_see_the_stored_numbers(form: str) -> None:
    def answer(stack: Stack) -> Tensor:
        config = Config([NetworkOptions(network_dim=2), LoraOptions(), DoraOptions()], {})
        layers = [layer for block in stack.blocks for layer in block.modules() if isinstance(layer, nn.Linear)]
        targets = [LoraTarget(f"lora_unet_{at}", (layer,), (str(at),), "unet") for at, layer in enumerate(layers)]
        torch.manual_seed(0)
        network = build_network(targets, lambda target, weights: build_dora(target, weights, config))
        for parameter in network.modules.parameters():
            nn.init.normal_(parameter, std=0.3)
        network.attach()
        return stack.answer()

    stack, wide = fitted(form), Stack(6).eval()
    read = {name: layer.read() for name, layer in quantised_layers(stack)}
    for name, numbers in read.items():
        wide.get_submodule(name).get_parameter("weight").data = numbers
    assert torch.equal(answer(stack), answer(wide))


def test_a_float8_file_keeps_its_codes() -> None:
    models = stack_models()
    assert models.denoiser is not None
    models.denoiser.to(FLOAT8)
    fit_models(models, CPU, torch.bfloat16, memory_config(base_model_precision="fp8_scaled"))
    assert {tensor.dtype for tensor in models.denoiser.parameters()} == {torch.bfloat16}
    codes = [layer.stored[0] for _, layer in quantised_layers(models.denoiser)]
    assert len(codes) == 12
    assert {tensor.dtype for tensor in codes} == {FLOAT8}


def test_layers_of_kinds_of_their_own_are_left_alone() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(Own(4, 4), nn.Linear(4, 4))
    store_weights(models_of(model, []), FLOAT32, memory_config(base_model_precision="int8"))
    assert [type(layer) for layer in model] == [Own, QuantisedLinear]
    assert list(linear_layers([model])) == []


@EVERY_FORM
def test_text_encoders_and_the_vae_stay_wide(form: str) -> None:
    models = Models(text={"te1": nn.Linear(4, 4)}, vae=nn.Linear(4, 4), denoiser=Stack(2))
    fit_models(models, CPU, FLOAT32, memory_config(base_model_precision=form))
    assert type(models.text["te1"]) is type(models.vae) is nn.Linear


@EVERY_FORM
def test_sharing_by_fsdp_is_refused(form: str) -> None:
    with pytest.raises(ConfigError, match="cannot be shared by FSDP") as caught:
        fit_models(stack_models(), META, FLOAT32, memory_config(base_model_precision=form), sharded=True)
    assert caught.value.problems[0].where == "--base_model_precision"


@pytest.mark.parametrize(("lowram", "expected"), [(False, CPU), (True, CARD)])
def test_a_card_never_holds_the_wide_model_unless_the_host_is_small(lowram: bool, expected: torch.device) -> None:
    config = memory_config(base_model_precision="int8", lowram=lowram)
    assert load_device(config, CARD, {"denoiser"}) == expected
    assert load_device(config, CARD, {"text", "vae"}) == CARD
    assert len(list(unneeded(config, CPU))) == lowram
    assert list(unneeded(config, CARD)) == []


@EVERY_FORM
def test_gradients_stay_near_those_of_the_wide_model(form: str) -> None:
    flat, wide = (torch.cat([one.flatten() for one in found(name)]) for name in (form, "given"))
    cosine = torch.nn.functional.cosine_similarity(flat, wide, dim=0)
    assert cosine > {"fp8_scaled": 0.999, "int8": 0.999, "nf4": 0.98}[form]
    assert cosine < 1 - 1e-7  # it is not the wide model
