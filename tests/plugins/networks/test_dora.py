from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from loracore_networks import dora
from loracore_networks.dora.adapter import DoraChange, build_dora
from loracore_networks.dora.options import DoraOptions, findings
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Config, DataError, LoraTarget, NetworkOptions, SampleRng
from loracore.networks.changed_weight import ChangedWeight

LINEAR, CONV = (8, 6), (8, 6, 3, 3)


def config(
    *, on_output: bool = False, network: NetworkOptions | None = None, lora: LoraOptions | None = None
) -> Config:
    base = network or NetworkOptions(network_dim=2, network_alpha=4)
    return Config([base, lora or LoraOptions(conv_dim=2, conv_alpha=4), DoraOptions(on_output)], {})


def target(*shape: int) -> LoraTarget:
    torch.manual_seed(1)
    outputs, inputs, *kernel = shape
    layer = nn.Conv2d(inputs, outputs, kernel[0], padding=kernel[0] // 2) if kernel else nn.Linear(inputs, outputs)
    return LoraTarget("lora_unet_x", (layer,), ("x",), "unet")


def fused(*, swapped: bool = False) -> LoraTarget:
    torch.manual_seed(1)
    layers = (nn.Linear(6, 4), nn.Linear(6, 2), nn.Linear(6, 8))
    return LoraTarget("lora_unet_qkv", layers, ("q", "k", "v"), "unet", swapped_halves=swapped)


def fresh(where: LoraTarget, options: Config | None = None) -> ChangedWeight:
    torch.manual_seed(3)
    adapter = build_dora(where, None, options or config())
    assert adapter is not None
    return adapter


def trained(where: LoraTarget, options: Config | None = None) -> ChangedWeight:
    adapter = fresh(where, options)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return adapter


def file_of(adapter: ChangedWeight) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in adapter.file_tensors().items()}


def low_rank_sum(tensors: dict[str, Tensor], weight: Tensor) -> Tensor:
    """Return W + up · down · alpha / rank, as any reader of a LoRA makes it."""
    down, up = tensors["lora_down.weight"], tensors["lora_up.weight"]
    return weight + (up.flatten(1) @ down.flatten(1)).view(weight.shape) * (tensors["alpha"] / len(down))


def changed(adapter: ChangedWeight, where: LoraTarget) -> list[Tensor]:
    weights = [layer.weight.detach() for layer in where.layers]
    return [weight + adapter.weight_change(index, weights).detach() for index, weight in enumerate(weights)]


@pytest.mark.parametrize("shape", [LINEAR, CONV])
@pytest.mark.parametrize("on_output", [False, True])
def test_the_weight_has_the_magnitudes_and_the_directions_of_the_lora(shape: tuple[int, ...], on_output: bool) -> None:
    where = target(*shape)
    adapter = trained(where, config(on_output=on_output))
    tensors, (found,) = file_of(adapter), changed(adapter, where)
    summed = low_rank_sum(tensors, where.layers[0].weight.detach())
    for place in range(shape[0] if on_output else shape[1]):
        one, other = (found[place], summed[place]) if on_output else (found[:, place], summed[:, place])
        magnitude = tensors["dora_scale"].flatten()[place]
        assert torch.allclose(one, magnitude * other / other.square().sum().sqrt(), atol=1e-6)


@pytest.mark.parametrize("shape", [LINEAR, CONV])
def test_pefts_own_layer_gives_the_same_over_the_outputs(shape: tuple[int, ...]) -> None:
    peft = pytest.importorskip("peft")
    where = target(*shape)
    adapter, layer = trained(where, config(on_output=True)), where.layers[0]
    inputs = torch.randn(3, 6, *(5 for _ in shape[2:]))
    live = adapter(0, inputs, layer(inputs), where.layers)
    lora = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["0"], use_dora=True)
    reference = peft.inject_adapter_in_model(lora, nn.Sequential(layer)).eval()
    tensors = file_of(adapter)
    with torch.no_grad():
        reference[0].lora_A["default"].weight.copy_(tensors["lora_down.weight"])
        reference[0].lora_B["default"].weight.copy_(tensors["lora_up.weight"])
        magnitude = reference[0].lora_magnitude_vector["default"].weight
        magnitude.copy_(tensors["dora_scale"].view(magnitude.shape))
    assert torch.allclose(live, reference(inputs), atol=1e-5)


@pytest.mark.parametrize("shape", [LINEAR, CONV])
@pytest.mark.parametrize("on_output", [False, True])
def test_lycoris_gives_the_same_outputs_and_gradients(shape: tuple[int, ...], on_output: bool) -> None:
    locon = pytest.importorskip("lycoris.modules.locon")
    where = target(*shape)
    adapter, layer = trained(where, config(on_output=on_output)), where.layers[0]
    reference = locon.LoConModule("x", layer, 1.0, 2, 4, weight_decompose=True, wd_on_out=on_output)
    tensors = file_of(adapter)
    with torch.no_grad():
        reference.lora_down.weight.copy_(tensors["lora_down.weight"])
        reference.lora_up.weight.copy_(tensors["lora_up.weight"])
        reference.dora_scale.copy_(tensors["dora_scale"])
    inputs = torch.randn(3, 6, *(5 for _ in shape[2:]))
    live, expected = adapter(0, inputs, layer(inputs), where.layers), reference(inputs)
    assert torch.allclose(live, expected, atol=1e-5)
    live.square().sum().backward()
    expected.square().sum().backward()
    change = adapter.change
    assert isinstance(change, DoraChange)
    for own, other in (
        (change.magnitude, reference.dora_scale),
        (change.factors.up, reference.lora_up.weight),
        (change.factors.down, reference.lora_down.weight),
    ):
        assert own.grad is not None
        assert torch.allclose(own.grad, other.grad, rtol=1e-4, atol=1e-4)


def comfy_ui(tensors: dict[str, Tensor], weight: Tensor) -> Tensor:
    """Return the weight by ComfyUI's rule: magnitudes of output rows are divided by the norms of the base weight."""
    summed, magnitude = low_rank_sum(tensors, weight), tensors["dora_scale"]
    measured = weight if len(magnitude) == len(weight) else summed.transpose(0, 1)
    norms: Tensor = torch.linalg.vector_norm(measured.flatten(1), dim=1)
    return summed * magnitude / norms.view(magnitude.shape)


@pytest.mark.parametrize("shape", [LINEAR, CONV])
def test_comfy_ui_makes_of_the_default_what_was_trained_and_of_the_other_axis_not(shape: tuple[int, ...]) -> None:
    for on_output in (False, True):
        where = target(*shape)
        adapter = trained(where, config(on_output=on_output))
        (found,), weight = changed(adapter, where), where.layers[0].weight.detach()
        assert torch.allclose(comfy_ui(file_of(adapter), weight), found, atol=1e-5) is not on_output


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("on_output", [False, True])
def test_fused_layers_are_one_weight_in_the_file(swapped: bool, on_output: bool) -> None:
    where = fused(swapped=swapped)
    adapter = trained(where, config(on_output=on_output))

    def in_file(weights: list[Tensor]) -> Tensor:
        halves = [weight.chunk(2) if swapped else (weight, weight[:0]) for weight in weights]
        return torch.cat([part for first, second in halves for part in (second, first)])

    summed = low_rank_sum(file_of(adapter), in_file([layer.weight.detach() for layer in where.layers]))
    norms = summed.norm(dim=1 if on_output else 0, keepdim=True)
    expected = summed * file_of(adapter)["dora_scale"] / norms
    assert torch.allclose(in_file(changed(adapter, where)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "on_output", "expected"),
    [
        (LINEAR, False, [1, 6]),
        (LINEAR, True, [8, 1]),
        (CONV, False, [1, 6, 1, 1]),
        (CONV, True, [8, 1, 1, 1]),
    ],
)
def test_magnitudes_start_as_the_norms_of_the_weight(
    shape: tuple[int, ...], on_output: bool, expected: list[int]
) -> None:
    where = target(*shape)
    magnitude = file_of(fresh(where, config(on_output=on_output)))["dora_scale"]
    weight = where.layers[0].weight.detach()
    flat = weight.flatten(1) if on_output else weight.transpose(0, 1).flatten(1)
    assert list(magnitude.shape) == expected
    assert torch.allclose(magnitude.flatten(), flat.square().sum(1).sqrt(), atol=1e-6)


def test_file_tensors_are_the_fields() -> None:
    names = {"alpha", "lora_down.weight", "lora_up.weight", "dora_scale"}
    assert set(file_of(fresh(target(*LINEAR)))) == names
    tucker = config(lora=LoraOptions(conv_dim=2, use_tucker=True))
    assert set(file_of(fresh(target(*CONV), tucker))) == {*names, "lora_mid.weight"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn])
def test_weights_in_few_bits_are_changed_in_float32(dtype: torch.dtype) -> None:
    where = target(*LINEAR)
    layer = where.layers[0].requires_grad_(requires_grad=False)
    layer.weight.data = layer.weight.data.to(dtype)
    adapter = fresh(where)
    assert file_of(adapter)["dora_scale"].dtype == torch.float32
    output = torch.ones(2, 8)
    assert torch.allclose(adapter(0, torch.ones(2, 6), output, where.layers), output, atol=1e-6)


def test_inputs_without_any_weight_stay_without_and_give_no_nan() -> None:
    where = target(*LINEAR)
    with torch.no_grad():
        where.layers[0].weight[:, 2] = 0
    adapter = fresh(where)
    outputs = adapter(0, torch.randn(3, 6), torch.zeros(3, 8), where.layers)
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in adapter.parameters())


def test_rank_dropout_takes_output_rows_from_the_change() -> None:
    where = target(*LINEAR)
    options = config(lora=LoraOptions(rank_dropout=0.5))
    adapter = trained(where, options)
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(200)))
    added = adapter(0, torch.ones(200, 6), torch.zeros(200, 8), where.layers)
    assert (added == 0).float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_a_file_says_its_axis_and_the_wrong_one_is_an_error() -> None:
    where = target(*LINEAR)
    tensors = file_of(trained(where, config(on_output=True)))
    again = build_dora(where, tensors, config())
    assert again is not None
    again.load_file_tensors(tensors)
    assert torch.equal(again.file_tensors()["dora_scale"], tensors["dora_scale"])
    with pytest.raises(DataError, match="set wd_on_output = true"):
        fresh(where).load_file_tensors(tensors)


def test_files_are_read_in_runs_of_other_networks_too() -> None:
    where = target(*LINEAR)
    tensors = file_of(trained(where))
    again = build_dora(where, tensors, Config([NetworkOptions()], {}))
    assert again is not None
    assert (again.rank, again.alpha_value) == (2, 4)


def test_doras_and_loras_are_not_taken_for_each_other() -> None:
    where = target(*LINEAR)
    plain = build_lora(where, None, config())
    assert plain is not None
    tensors = file_of(fresh(where))
    with pytest.raises(DataError, match="give --network_module dora"):
        plain.load_file_tensors(tensors)
    with pytest.raises(DataError, match='network_module = "dora"'):
        build_lora(where, tensors, config())
    with pytest.raises(DataError, match="dora_scale"):
        fresh(where).load_file_tensors(plain.file_tensors())
    with pytest.raises(DataError, match="no dora_scale"):
        build_dora(where, plain.file_tensors(), config())


def test_lora_plus_moves_up_alone_faster() -> None:
    adapter = fresh(target(*LINEAR))
    assert isinstance(adapter.change, DoraChange)
    assert list(adapter.up_parameters()) == [adapter.change.factors.up]
    assert len(adapter.trained_parameters()) == 3


def test_options_that_cannot_act_are_said() -> None:
    norms = config(network=NetworkOptions(scale_weight_norms=1))
    assert [(finding.fate, finding.option) for finding in findings(norms)] == [("unsupported", "scale_weight_norms")]
    tables = [NetworkOptions(dim_from_weights=True), LoraOptions(), DoraOptions(wd_on_output=True)]
    found = dora.check_options(Config(tables, {"wd_on_output": "network_args"}))
    assert [(finding.fate, finding.option) for finding in found] == [("without effect", "wd_on_output")]


def test_its_hooks_have_loras_options() -> None:
    assert dora.options() == (LoraOptions, DoraOptions)
    assert isinstance(dora.build_adapter(target(*LINEAR), None, config()), ChangedWeight)
    assert dora.build_adapter(replace(target(*LINEAR), rank=0), None, config()) is None
