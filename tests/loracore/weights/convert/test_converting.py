"""LoRA files between two kinds of names: what they change stays the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore.errors import DataError, LoracoreError
from loracore.types import LoraTarget
from loracore.weights.convert.converting import Output, convert
from loracore.weights.convert.diffusers_to_kohya import kohya_pieces
from loracore.weights.convert.kohya_to_diffusers import diffusers_pieces
from loracore.weights.convert.lora_names import Format
from loracore.weights.headers import read_header
from loracore.weights.network_file import open_network_file
from tests.loracore.weights.toy_files import ToyFiles, toy_request, write_lora

INPUTS, OUTPUTS = 6, 4
QKV, LAST, TEXT, CONV = "lora_unet_qkv", "lora_unet_last", "lora_te1_text_model_layers_0_fc1", "lora_unet_conv"


def linear() -> nn.Linear:
    return nn.Linear(INPUTS, OUTPUTS, device="meta")


@pytest.fixture
def targets() -> dict[str, LoraTarget]:
    """A fused layer, one with swapped halves, a convolution, and a text encoder's without its outer level."""
    conv = nn.Conv2d(INPUTS, OUTPUTS, 3, device="meta")
    listed = [
        LoraTarget(TEXT, (linear(),), ("layers.0.fc1",), "te1"),
        LoraTarget(QKV, (linear(), linear(), linear()), ("a.to_q", "a.to_k", "a.to_v"), "unet"),
        LoraTarget(LAST, (linear(),), ("norm_out.linear",), "unet", swapped_halves=True),
        LoraTarget(CONV, (conv,), ("conv",), "unet"),
    ]
    return {target.key: target for target in listed}


def pair(key: str, rank: int, outputs: int = OUTPUTS, alpha: float | None = None) -> dict[str, Tensor]:
    tensors = {
        f"{key}.lora_down.weight": torch.randn(rank, INPUTS),
        f"{key}.lora_up.weight": torch.randn(outputs, rank),
    }
    return tensors if alpha is None else {f"{key}.alpha": torch.tensor(alpha), **tensors}


def peft(module: str, rank: int, down: Tensor | None = None) -> dict[str, Tensor]:
    made = torch.randn(rank, INPUTS) if down is None else down
    return {f"{module}.lora_A.weight": made, f"{module}.lora_B.weight": torch.randn(OUTPUTS, rank)}


def saved(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    save_file({name: one.clone().contiguous() for name, one in tensors.items()}, path, dict(metadata or {}))
    return path


Targets = Mapping[str, LoraTarget]


def to_diffusers(path: Path, targets: Targets, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    pieces = diffusers_pieces(open_network_file(path), targets, "toy", dtype)
    return {name: one for piece in pieces for name, one in piece.make().items()}


def to_kohya(path: Path, targets: Targets, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    pieces = kohya_pieces(open_network_file(path), list(targets.values()), "toy", dtype)
    found = {name: one for piece in pieces for name, one in piece.make().items()}
    assert list(found) == [name for piece in pieces for name in piece.names]
    return found


def kohya_change(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
    alpha = tensors.get(f"{key}.alpha", torch.tensor(float(len(down))))
    return up.flatten(1).float() @ down.flatten(1).float() * (alpha / len(down))


def peft_change(tensors: Mapping[str, Tensor], module: str) -> Tensor:
    return tensors[f"{module}.lora_B.weight"].flatten(1).float() @ tensors[f"{module}.lora_A.weight"].flatten(1).float()


def test_fused_layers_share_their_down_factor(tmp_path: Path, targets: Targets) -> None:
    tensors = pair(QKV, 3, 3 * OUTPUTS, alpha=1.5)
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    assert all(torch.equal(found[f"toy.a.to_{one}.lora_A.weight"], tensors[f"{QKV}.lora_down.weight"]) for one in "qkv")
    rows = torch.cat([peft_change(found, f"toy.a.to_{one}") for one in "qkv"])
    assert torch.equal(rows, kohya_change(tensors, QKV))


def test_true_blocks_keep_their_own_rank(tmp_path: Path, targets: Targets) -> None:
    tensors = pair(QKV, 6, 3 * OUTPUTS, alpha=3)
    up = tensors[f"{QKV}.lora_up.weight"]
    tensors[f"{QKV}.lora_up.weight"] = up * torch.block_diag(*[torch.ones(OUTPUTS, 2)] * 3)  # type: ignore[no-untyped-call]  # torch's own
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    assert [len(found[f"toy.a.to_{one}.lora_A.weight"]) for one in "qkv"] == [2, 2, 2]
    rows = torch.cat([peft_change(found, f"toy.a.to_{one}") for one in "qkv"])
    assert torch.allclose(rows, kohya_change(tensors, QKV), atol=1e-6)


def test_an_untrained_fused_layer_keeps_its_rank(tmp_path: Path, targets: Targets) -> None:
    tensors = pair(QKV, 6, 3 * OUTPUTS)
    tensors[f"{QKV}.lora_up.weight"].zero_()
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    assert len(found["toy.a.to_q.lora_A.weight"]) == 6


def test_halves_are_swapped_back(tmp_path: Path, targets: Targets) -> None:
    tensors = pair(LAST, 2)
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    in_file = kohya_change(tensors, LAST)
    assert torch.equal(peft_change(found, "toy.norm_out.linear"), torch.cat([in_file[2:], in_file[:2]]))
    assert torch.equal(kohya_change(to_kohya(saved(tmp_path / "b.safetensors", found), targets), LAST), in_file)


def test_a_text_encoder_gets_the_level_that_files_have(tmp_path: Path, targets: Targets) -> None:
    found = to_diffusers(saved(tmp_path / "a.safetensors", pair(TEXT, 2)), targets)
    assert list(found) == [f"text_encoder.text_model.layers.0.fc1.lora_{factor}.weight" for factor in "AB"]


@pytest.mark.parametrize("level", ["", "text_model."])
def test_a_text_encoder_is_found_with_and_without_that_level(tmp_path: Path, targets: Targets, level: str) -> None:
    tensors = peft(f"text_encoder.{level}layers.0.fc1", 2)
    assert f"{TEXT}.alpha" in to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)


def test_pointwise_factors_take_the_shape_of_their_layer(tmp_path: Path, targets: Targets) -> None:
    tensors = {name: one[..., None, None] for name, one in pair(LAST, 2).items()}
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    assert [list(one.shape) for one in found.values()] == [[2, INPUTS], [OUTPUTS, 2]]


def test_convolutions_keep_their_kernel_both_ways(tmp_path: Path, targets: Targets) -> None:
    down, up = torch.randn(2, INPUTS, 3, 3), torch.randn(OUTPUTS, 2, 1, 1)
    tensors = {f"{CONV}.lora_down.weight": down, f"{CONV}.lora_up.weight": up}
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    assert torch.equal(found["toy.conv.lora_A.weight"], down)
    back = to_kohya(saved(tmp_path / "b.safetensors", found), targets)
    assert torch.equal(back[f"{CONV}.lora_up.weight"], up)


def test_half_precision_is_kept_where_alpha_folds_without_loss(tmp_path: Path, targets: Targets) -> None:
    half = {name: one.half() for name, one in pair(LAST, 4, alpha=1).items()}
    found = to_diffusers(saved(tmp_path / "a.safetensors", half), targets)
    assert {one.dtype for one in found.values()} == {torch.float16}
    half[f"{LAST}.alpha"] = torch.tensor(3.0)
    found = to_diffusers(saved(tmp_path / "b.safetensors", half), targets)
    assert found["toy.norm_out.linear.lora_B.weight"].dtype == torch.float32
    assert found["toy.norm_out.linear.lora_A.weight"].dtype == torch.float16


def test_a_precision_may_be_asked_for(tmp_path: Path, targets: Targets) -> None:
    path = saved(tmp_path / "a.safetensors", pair(LAST, 4, alpha=3))
    assert {one.dtype for one in to_diffusers(path, targets, torch.bfloat16).values()} == {torch.bfloat16}
    path = saved(tmp_path / "b.safetensors", peft("toy.norm_out.linear", 2))
    assert to_kohya(path, targets, torch.bfloat16)[f"{LAST}.lora_up.weight"].dtype == torch.bfloat16


def test_layers_of_their_own_downs_become_block_diagonal(tmp_path: Path, targets: Targets) -> None:
    tensors = peft("toy.a.to_q", 2) | peft("toy.a.to_k", 3) | peft("toy.a.to_v", 2)
    found = to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)
    assert list(found[f"{QKV}.lora_up.weight"].shape) == [3 * OUTPUTS, 7]
    assert found[f"{QKV}.alpha"].item() == 7
    rows = torch.cat([peft_change(tensors, f"toy.a.to_{one}") for one in "qkv"])
    assert torch.allclose(kohya_change(found, QKV), rows, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_a_layer_without_lora_gets_zeros(tmp_path: Path, targets: Targets, shared: bool) -> None:
    down = torch.randn(2, INPUTS) if shared else None
    tensors = peft("toy.a.to_q", 2, down) | peft("toy.a.to_v", 2, down)
    found = to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)
    assert len(found[f"{QKV}.lora_down.weight"]) == (2 if shared else 4)
    change = kohya_change(found, QKV)
    assert not change[OUTPUTS : 2 * OUTPUTS].any()
    assert torch.allclose(change[2 * OUTPUTS :], peft_change(tensors, "toy.a.to_v"), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"toy.r": 2, "toy.lora_alpha": 3}, 1.5),
        ({"toy.lora_alpha": 3, "toy.alpha_pattern": {"norm_out.linear": 1}}, 0.5),
        ({"toy.lora_alpha": 3, "toy.alpha_pattern": {"^norm_out.linear": 5}}, 2.5),
        ({"toy.lora_alpha": 4, "toy.use_rslora": True}, 4 / 2**0.5),
        ({"text_encoder.lora_alpha": 9}, 1),
    ],
)
def test_settings_in_the_header_give_the_strength(
    tmp_path: Path, targets: Targets, settings: Mapping[str, object], scale: float
) -> None:
    tensors, header = peft("toy.norm_out.linear", 2), {"lora_adapter_metadata": json.dumps(settings)}
    found = to_kohya(saved(tmp_path / "a.safetensors", tensors, header), targets)
    assert found[f"{LAST}.alpha"].item() == pytest.approx(2 * scale)


def test_alpha_tensors_give_the_strength(tmp_path: Path, targets: Targets) -> None:
    tensors = peft("toy.norm_out.linear", 2) | {"toy.norm_out.linear.alpha": torch.tensor(3.0)}
    assert to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)[f"{LAST}.alpha"].item() == 3


def test_strengths_that_differ_are_folded(tmp_path: Path, targets: Targets) -> None:
    down = torch.randn(2, INPUTS)
    tensors = peft("toy.a.to_q", 2, down) | peft("toy.a.to_k", 2, down) | peft("toy.a.to_v", 2, down)
    weighted = tensors | {"toy.a.to_k.alpha": torch.tensor(1.0)}
    found = to_kohya(saved(tmp_path / "a.safetensors", weighted), targets)
    assert len(found[f"{QKV}.lora_down.weight"]) == 2
    rows = [peft_change(tensors, f"toy.a.to_{one}") * scale for one, scale in (("q", 1), ("k", 0.5), ("v", 1))]
    assert torch.allclose(kohya_change(found, QKV), torch.cat(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("lora.down.weight", "lora.up.weight"),
        ("lora_A.default.weight", "lora_B.default.weight"),
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ],
)
def test_older_spellings_are_understood(tmp_path: Path, targets: Targets, down: str, up: str) -> None:
    tensors = {
        f"toy.norm_out.linear.{down}": torch.randn(2, INPUTS),
        f"toy.norm_out.linear.{up}": torch.randn(OUTPUTS, 2),
    }
    assert f"{LAST}.alpha" in to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)


def test_pefts_own_files_need_the_settings_beside_them(tmp_path: Path, targets: Targets) -> None:
    path = saved(tmp_path / "adapter_model.safetensors", peft("base_model.model.norm_out.linear", 2))
    with pytest.raises(DataError, match=r"adapter_config\.json"):
        to_kohya(path, targets)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 6}), encoding="utf-8")
    assert to_kohya(path, targets)[f"{LAST}.alpha"].item() == 6


def test_a_module_that_the_model_lacks_is_told_with_the_nearest(tmp_path: Path, targets: Targets) -> None:
    with pytest.raises(DataError, match=r"did you mean 'toy\.norm_out\.linear'"):
        to_kohya(saved(tmp_path / "a.safetensors", peft("toy.norm_out.linea", 2)), targets)
    with pytest.raises(DataError, match="did you mean 'lora_unet_last'"):
        to_diffusers(saved(tmp_path / "b.safetensors", pair("lora_unet_lasst", 2)), targets)


def test_factors_of_another_size_do_not_fit(tmp_path: Path, targets: Targets) -> None:
    with pytest.raises(DataError, match="do not fit a layer"):
        to_diffusers(saved(tmp_path / "a.safetensors", pair(LAST, 2, OUTPUTS + 2)), targets)
    tensors = peft("toy.norm_out.linear", 2) | {"toy.norm_out.linear.lora_B.weight": torch.zeros(OUTPUTS, 3)}
    with pytest.raises(DataError, match=r"lora_B\.weight \[\d+, 3\], lora_A\.weight .* do not fit one another"):
        to_kohya(saved(tmp_path / "b.safetensors", tensors), targets)


def test_half_a_pair_is_told(tmp_path: Path, targets: Targets) -> None:
    path = saved(tmp_path / "a.safetensors", {"toy.norm_out.linear.lora_A.weight": torch.zeros(2, INPUTS)})
    with pytest.raises(DataError, match=r"toy\.norm_out\.linear has no lora_B"):
        to_kohya(path, targets)


# ---- whole files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lora(toy_site: Path, tmp_path: Path) -> Path:
    return write_lora(tmp_path / "lora.safetensors", toy_request(ToyFiles(), "--network_train_unet_only"))


def converted(source: Path, target: Path, names: Format | None = None) -> dict[str, Tensor]:
    request = toy_request(ToyFiles())
    convert(request.plugins.hook, request.config, source, Output(target, None, names))
    return load_file(target)


def test_each_format_becomes_the_other(lora: Path, tmp_path: Path) -> None:
    there = converted(lora, tmp_path / "there.safetensors")
    assert set(there) == {f"toy.blocks.{number}.mix.lora_{factor}.weight" for number in range(2) for factor in "AB"}
    back, before = converted(tmp_path / "there.safetensors", tmp_path / "back.safetensors"), load_file(lora)
    assert set(back) == set(before)
    assert torch.equal(kohya_change(back, "lora_unet_blocks_0_mix"), kohya_change(before, "lora_unet_blocks_0_mix"))


def test_the_header_is_kept_but_for_hashes_and_names(lora: Path, tmp_path: Path) -> None:
    converted(lora, tmp_path / "there.safetensors")
    found = read_header(tmp_path / "there.safetensors").metadata
    assert found["ss_steps"] == "7"
    assert found["modelspec.implementation"] == "diffusers"
    assert "sshs_model_hash" not in found


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error_before_anything_is_written(
    lora: Path, tmp_path: Path, number: float
) -> None:
    tensors, name = load_file(lora), "lora_unet_blocks_0_mix.lora_up.weight"
    tensors[name][0, 0] = number
    save_file(tensors, lora)
    with pytest.raises(DataError, match=rf"lora\.safetensors: 1 tensors are not finite, for example {name}"):
        converted(lora, tmp_path / "there.safetensors")
    assert not (tmp_path / "there.safetensors").exists()


def test_a_file_that_has_the_names_already_is_told(lora: Path, tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="the file has kohya's names already"):
        converted(lora, tmp_path / "there.safetensors", "kohya")


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [("hada_w1_a", "a LoHa"), ("lokr_w1", "a LoKr"), ("oft_blocks", "an OFT"), ("diff", "full changes of weights")],
)
def test_other_networks_need_a_rank(toy_site: Path, tmp_path: Path, tensor: str, kind: str) -> None:
    path = saved(tmp_path / "a.safetensors", {f"lora_unet_blocks_0_mix.{tensor}": torch.zeros(1)})
    with pytest.raises(DataError, match=f"this is {kind}.*give --new_rank"):
        converted(path, tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_a_rank_without_effect_is_an_error(lora: Path, tmp_path: Path) -> None:
    request = toy_request(ToyFiles())
    output = Output(tmp_path / "new.safetensors", None, None, new_rank=2)
    with pytest.raises(LoracoreError, match="--new_rank would have no effect"):
        convert(request.plugins.hook, request.config, lora, output)


def test_a_third_factor_is_folded(tmp_path: Path, targets: Targets) -> None:
    down, mid, up = torch.randn(2, INPUTS, 1, 1), torch.randn(3, 2, 3, 3), torch.randn(OUTPUTS, 3, 1, 1)
    factors = {"lora_down": down, "lora_mid": mid, "lora_up": up}
    tensors = {f"{CONV}.{name}.weight": one for name, one in factors.items()} | {f"{CONV}.alpha": torch.tensor(1.5)}
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    picture = torch.randn(1, INPUTS, 5, 5)
    wanted = nn.functional.conv2d(nn.functional.conv2d(nn.functional.conv2d(picture, down), mid), up) * 0.5
    pair = [found[f"toy.conv.lora_{factor}.weight"] for factor in "AB"]
    assert torch.allclose(nn.functional.conv2d(nn.functional.conv2d(picture, pair[0]), pair[1]), wanted, atol=1e-4)


@pytest.mark.parametrize("key", [QKV, LAST, CONV])
def test_magnitudes_of_rows_go_there_and_back(tmp_path: Path, targets: Targets, key: str) -> None:
    rows = OUTPUTS * len(targets[key].layers)
    kernel = targets[key].layers[0].weight.shape[2:]
    ones = [1] * len(kernel)
    tensors = {
        f"{key}.alpha": torch.tensor(2.0),
        f"{key}.lora_down.weight": torch.randn(2, INPUTS, *kernel),
        f"{key}.lora_up.weight": torch.randn(rows, 2, *ones),
        f"{key}.dora_scale": torch.rand(rows, 1, *ones),
    }
    found = to_diffusers(saved(tmp_path / "a.safetensors", tensors), targets)
    magnitudes = [one for name, one in found.items() if name.endswith("lora_magnitude_vector.weight")]
    assert {tuple(one.shape) for one in magnitudes} == {(1, OUTPUTS, 1, 1) if kernel else (OUTPUTS,)}
    back = to_kohya(saved(tmp_path / "b.safetensors", found), targets)
    assert {name: one.tolist() for name, one in back.items()} == {name: one.tolist() for name, one in tensors.items()}


def test_pefts_own_spelling_of_magnitudes_is_read(tmp_path: Path, targets: Targets) -> None:
    tensors = peft("toy.norm_out.linear", 2) | {"toy.norm_out.linear.lora_magnitude_vector": torch.arange(4.0)}
    found = to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)
    assert found[f"{LAST}.dora_scale"].tolist() == [[2], [3], [0], [1]]  # halves swapped


def test_a_fused_layer_has_magnitudes_for_all_its_layers_or_none(tmp_path: Path, targets: Targets) -> None:
    tensors = peft("toy.a.to_q", 2) | peft("toy.a.to_k", 2) | {"toy.a.to_q.lora_magnitude_vector": torch.ones(4)}
    with pytest.raises(DataError, match="only 1 of its 3 layers are DoRA"):
        to_kohya(saved(tmp_path / "a.safetensors", tensors), targets)


def test_what_is_no_lora_is_told(toy_site: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", {"emb_params": torch.zeros(1)})
    with pytest.raises(DataError, match="neither kohya's nor diffusers'"):
        converted(path, tmp_path / "b.safetensors")


def test_a_base_model_is_no_lora(toy_site: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", {"model.diffusion_model.enter.weight": torch.zeros(1)})
    with pytest.raises(DataError, match="this is a base model's checkpoint, not a LoRA"):
        converted(path, tmp_path / "b.safetensors")


def test_numbers_that_a_precision_cannot_hold_are_an_error(tmp_path: Path, targets: Targets) -> None:
    tensors = peft("toy.norm_out.linear", 2) | {"toy.norm_out.linear.lora_B.weight": torch.full((OUTPUTS, 2), 1e5)}
    path = saved(tmp_path / "a.safetensors", tensors)
    (piece,) = kohya_pieces(open_network_file(path), list(targets.values()), "toy", torch.float16)
    with pytest.raises(LoracoreError, match=f"{LAST} is too large for float16"):
        piece.make()
