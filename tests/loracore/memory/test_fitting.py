from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loracore import ConfigError, LoracoreError, Models
from loracore.memory.fitting import fit_models, load_device, spare_activations, unneeded
from loracore.memory.float8 import FLOAT8
from tests.loracore.memory.adapted import CPU, adapt, equal, gradients, gradients_with, memory_config, models_of
from tests.loracore.memory.stack import Stack

CARD = torch.device("cuda", 0)
META = torch.device("meta")
FLOAT32 = torch.float32


def stack_models(depth: int = 6) -> Models:
    stack = Stack(depth)
    return models_of(stack, list(stack.blocks))


def stack_gradients(**options: Any) -> list[Tensor]:
    models = stack_models()
    assert isinstance(models.denoiser, Stack)
    return gradients_with(models, models.denoiser.answer, **options)


@pytest.mark.parametrize("options", [{"blocks_to_swap": count} for count in range(5)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_swapping_gives_bitwise_the_same_gradients(options: dict[str, Any], checkpointing: bool) -> None:
    assert equal(stack_gradients(**options, gradient_checkpointing=checkpointing), stack_gradients())


def test_checkpointing_with_inputs_on_the_host_gives_bitwise_the_same_gradients() -> None:
    found = stack_gradients(gradient_checkpointing=True, cpu_offload_checkpointing=True)
    assert equal(found, stack_gradients())


def test_swapping_float8_gives_bitwise_the_gradients_of_float8() -> None:
    assert equal(stack_gradients(fp8_base=True, blocks_to_swap=3), stack_gradients(fp8_base=True))


@pytest.mark.parametrize("more", [{}, {"blocks_to_swap": 1}, {"cpu_offload_checkpointing": True}])
def test_some_checkpointed_blocks_give_bitwise_the_same_gradients(more: dict[str, Any]) -> None:
    assert equal(stack_gradients(checkpointed_blocks=(4, 0), **more), stack_gradients())


def test_only_the_blocks_that_are_named_forget_their_activations() -> None:
    models = stack_models()
    spare_activations(models, memory_config(checkpointed_blocks=(4, 0)))
    assert ["forward" in vars(block) for block in models.blocks["unet"]] == [True, False, False, False, True, False]


@pytest.mark.parametrize("device", [CPU, META])
def test_a_block_that_is_not_there_is_named(device: torch.device) -> None:
    with pytest.raises(ConfigError, match="no block 6: it names 6") as caught:
        fit_models(stack_models(), device, FLOAT32, memory_config(checkpointed_blocks=(6,)))
    assert caught.value.problems[0].fix == "give numbers from 0 to 5"


def test_each_block_is_computed_at_most_twice_a_step() -> None:
    models, calls = stack_models(), []
    for block in models.blocks["unet"]:
        block.get_submodule("norm").register_forward_hook(lambda *_: calls.append(1))
    config = memory_config(blocks_to_swap=2, gradient_checkpointing=True)
    fit_models(models, CPU, FLOAT32, config)
    spare_activations(models, config)
    assert isinstance(models.denoiser, Stack)
    gradients(adapt(models.blocks["unet"]), models.denoiser.answer, steps=1)
    assert len(calls) == 12


def test_without_options_blocks_are_left_alone() -> None:
    models, config = stack_models(), memory_config()
    fit_models(models, CPU, FLOAT32, config)
    spare_activations(models, config)
    assert not any("forward" in vars(module) for module in models.blocks["unet"])


@pytest.mark.parametrize(
    ("depth", "fix"), [(6, "give at most 4"), (3, "give at most 1"), (2, "leave blocks_to_swap out")]
)
@pytest.mark.parametrize("device", [CPU, META])
def test_the_limit_of_the_model_is_told(depth: int, fix: str, device: torch.device) -> None:
    with pytest.raises(ConfigError, match=f"model of {depth} blocks") as caught:
        fit_models(stack_models(depth), device, FLOAT32, memory_config(blocks_to_swap=5))
    assert caught.value.problems[0].fix == fix
    assert caught.value.problems[0].where == "--blocks_to_swap"


def test_an_architecture_without_blocks_cannot_swap() -> None:
    with pytest.raises(ConfigError, match="names no blocks"):
        fit_models(models_of(nn.Linear(1, 1), []), CPU, FLOAT32, memory_config(blocks_to_swap=1))


def test_phases_without_the_denoiser_do_not_swap() -> None:
    models, config = Models(text={"te1": nn.Linear(2, 2)}), memory_config(blocks_to_swap=30)
    fit_models(models, CPU, FLOAT32, config)
    assert load_device(config, CARD, {"text"}) == CARD


@pytest.mark.parametrize(
    ("options", "parts", "expected"),
    [
        ({}, {"denoiser", "text", "vae"}, CARD),
        ({"blocks_to_swap": 0}, {"denoiser"}, CARD),
        ({"blocks_to_swap": 1}, {"denoiser", "te1"}, CPU),
        ({"fp8_base_unet": True}, {"denoiser"}, CPU),
        ({"fp8_base_unet": True}, {"text"}, CARD),
        ({"fp8_base": True}, {"te3"}, CPU),
        ({"fp8_base": True, "blocks_to_swap": 1}, {"vae"}, CARD),
        ({"fp8_base": True, "lowram": True}, {"denoiser", "te1"}, CARD),
        ({"fp8_base_unet": True, "lowram": True}, {"denoiser"}, CARD),
        ({"fp8_base": True, "lowram": True, "blocks_to_swap": 1}, {"denoiser"}, CPU),
        ({"fp8_base": True, "lowram": True, "blocks_to_swap": 1}, {"text"}, CARD),
    ],
)
def test_a_card_never_holds_more_than_in_training_unless_the_host_is_small(
    options: dict[str, Any], parts: set[str], expected: torch.device
) -> None:
    config = memory_config(**options)
    assert load_device(config, CARD, parts) == expected
    assert load_device(config, META, parts) == META


def test_weights_become_float8_where_lowram_has_put_them() -> None:
    plain, lowram = text_and_denoiser(), text_and_denoiser()
    fit_models(plain, CPU, FLOAT32, memory_config(fp8_base=True))
    fit_models(lowram, CPU, FLOAT32, memory_config(fp8_base=True, lowram=True))
    assert float8_parts(lowram) == float8_parts(plain) == {"te1", "unet"}


@pytest.mark.parametrize(
    ("options", "device", "words"),
    [
        ({"lowram": True, "fp8_base": True}, CPU, "lowram is without effect on the CPU"),
        ({"highvram": True}, CPU, "highvram is without effect on this device"),
        ({"lowram": True, "fp8_base": True, "highvram": True}, CARD, ""),
        ({}, CPU, ""),
    ],
)
def test_what_changes_nothing_on_a_device_is_told(options: dict[str, Any], device: torch.device, words: str) -> None:
    notes = list(unneeded(memory_config(**options), device))
    assert len(notes) == bool(words)
    assert words in "".join(notes)


def text_and_denoiser() -> Models:
    models = stack_models(3)
    text = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4)).requires_grad_(requires_grad=False)
    return Models(text={"te1": text}, vae=nn.Linear(2, 2), denoiser=models.denoiser, blocks=models.blocks)


def float8_parts(models: Models) -> set[str]:
    return {
        name
        for name, module in models.modules().items()
        if any(parameter.dtype == FLOAT8 for parameter in module.parameters())
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, set()), ({"fp8_base": True}, {"te1", "unet"}), ({"fp8_base_unet": True}, {"unet"})],
)
def test_float8_is_for_the_parts_that_the_option_names(options: dict[str, Any], expected: set[str]) -> None:
    models = text_and_denoiser()
    fit_models(models, CPU, FLOAT32, memory_config(**options))
    assert float8_parts(models) == expected


def test_the_meta_device_is_only_asked_for_its_limits() -> None:
    models = text_and_denoiser()
    fit_models(models, META, FLOAT32, memory_config(fp8_base=True, blocks_to_swap=1))
    assert float8_parts(models) == set()


def addresses(module: nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())]


def moved(models: Models, **more: Any) -> dict[str, list[bool]]:
    """Tell what is copied on the way to a device: torch copies to "cpu:0" what is on "cpu", though they are the same.

    Tensors are counted that have a place of their own afterwards; waiting weights share one, on the host.
    """
    before = {name: addresses(module) for name, module in models.modules().items()}
    fit_models(models, torch.device("cpu", 0), FLOAT32, memory_config(blocks_to_swap=1), **more)
    after = {name: addresses(module) for name, module in models.modules().items()}
    return {name: [old != new for old, new in zip(before[name], after[name], strict=True)] for name in before}


def test_all_parts_go_to_the_device_but_those_that_are_to_stay() -> None:
    found = moved(text_and_denoiser(), stay=("vae",))
    assert all(found["te1"])
    assert all(found["unet"])
    assert not any(found["vae"])


def test_waiting_weights_stay_on_the_host() -> None:
    models = text_and_denoiser()
    fit_models(models, torch.device("cpu", 0), FLOAT32, memory_config(blocks_to_swap=1))
    for block in models.blocks["unet"]:
        assert len({parameter.untyped_storage().data_ptr() for parameter in block.parameters()}) == 1
    assert models.denoiser is not None
    outside = [tensor for name, tensor in models.denoiser.named_parameters() if not name.startswith("blocks.")]
    assert len({tensor.untyped_storage().data_ptr() for tensor in outside}) == len(outside)


def test_a_part_that_was_loaded_elsewhere_stays_there() -> None:
    models = Models(text={"te3": nn.Linear(2, 2, device="meta")}, denoiser=stack_models().denoiser)
    fit_models(models, CPU, FLOAT32, memory_config())
    assert models.text["te3"].get_parameter("weight").is_meta


@pytest.mark.parametrize(("lowram", "expected"), [(False, CPU), (True, CARD)])
def test_a_sharded_denoiser_waits_on_the_host_unless_that_is_the_smaller(lowram: bool, expected: torch.device) -> None:
    config = memory_config(lowram=lowram)
    assert load_device(config, CARD, {"denoiser"}, sharded=True) == expected
    assert load_device(config, CARD, {"text", "vae"}, sharded=True) == CARD


def test_a_denoiser_without_blocks_cannot_be_sharded() -> None:
    with pytest.raises(LoracoreError, match="names no blocks"):
        fit_models(models_of(nn.Linear(1, 1), []), META, FLOAT32, memory_config(), sharded=True)
