"""What a file holds is told by its tensors alone, one module at a time."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.weights.hashing import content_hash
from loracore.weights.inspect.change_norms import change_norm
from loracore.weights.inspect.inspecting import Inspection, inspect_file
from loracore.weights.inspect.network_modules import Module
from tests.loracore.weights.network_files import CONV, LINEAR, TEXT, change, lora, pair, write


def inspected(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Inspection:
    return inspect_file(write(folder / "file.safetensors", tensors, metadata))


def test_modules_have_rank_alpha_and_the_norm_of_their_change(tmp_path: Path) -> None:
    tensors = lora()
    found = {module.name: module for module in inspected(tmp_path, tensors).modules}
    assert {name: (one.rank, one.alpha) for name, one in found.items()} == {
        LINEAR: (6, 3.0),
        CONV: (5, 5.0),
        TEXT: (4, 1.0),
    }
    for name, one in found.items():
        assert one.norm == pytest.approx(float(change(tensors, name).norm()), rel=1e-5)


def test_blocks_join_their_modules_and_stand_in_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    keys = ["lora_unet_blocks_10_q", "lora_unet_blocks_2_q", "lora_unet_blocks_2_k", "lora_te1_layers_0_q"]
    tensors = {name: one for key in keys for name, one in pair(key, 8, 8, 2).items()}
    found = inspected(tmp_path, tensors).blocks()
    assert [(one.part, one.block, one.modules) for one in found] == [
        ("te1", "layers_0", 1),
        ("unet", "blocks_2", 2),
        ("unet", "blocks_10", 1),
    ]
    norms = [float(change(tensors, key).norm()) for key in keys[1:3]]
    assert (found[1].norm, found[1].largest) == pytest.approx((math.hypot(*norms), max(norms)), rel=1e-5)


def test_golden_norms_follow_from_merged_weights(data: Path) -> None:
    path = data / "tiny-sdxl-lora.safetensors"
    found = inspect_file(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    assert len(found.modules) == 258
    for module in found.modules[::17]:
        assert module.norm == pytest.approx(float(change(tensors, module.name).norm()), rel=1e-5)


def test_a_module_that_changes_nothing_is_dead(tmp_path: Path) -> None:
    tensors = lora()
    tensors[f"{CONV}.lora_up.weight"].zero_()
    assert inspected(tmp_path, tensors).dead == (CONV,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_counted_and_kept_out_of_norms(tmp_path: Path, value: float) -> None:
    tensors = lora()
    tensors[f"{CONV}.lora_up.weight"][1, :2] = value
    found = inspected(tmp_path, tensors)
    assert {one.name: one.bad for one in found.tensors if one.bad} == {f"{CONV}.lora_up.weight": 2}
    assert [one.block for one in found.blocks()] == ["text_model_encoder_layers_10", "input_blocks_4"]
    assert all(math.isfinite(one.most) for one in found.tensors)


@pytest.mark.parametrize(("factor", "what"), [(1e6, "huge"), (1e-7, "tiny")])
def test_what_half_precision_would_spoil_is_told(tmp_path: Path, factor: float, what: str) -> None:
    tensors = lora()
    tensors[f"{CONV}.lora_up.weight"] *= factor
    (odd,) = (one for one in inspected(tmp_path, tensors).tensors if one.odd)
    assert (odd.name, odd.odd.partition(":")[0]) == (f"{CONV}.lora_up.weight", what)


def test_tensors_have_their_figures(tmp_path: Path) -> None:
    tensors = lora()
    name = f"{LINEAR}.lora_down.weight"
    (found,) = (one for one in inspected(tmp_path, tensors).tensors if one.name == name)
    exact = tensors[name]
    assert (found.shape, found.dtype) == ((6, 10), "float32")
    expected = (exact.min(), exact.mean(), exact.max())
    assert (found.least, found.mean, found.most) == pytest.approx(tuple(map(float, expected)))


def test_names_of_diffusers_take_alpha_from_the_header(tmp_path: Path) -> None:
    down, up = torch.randn(2, 6), torch.randn(6, 2)
    name = "transformer.blocks.0.to_q"
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    settings = {"lora_adapter_metadata": '{"transformer.lora_alpha": 1}'}
    (module,) = inspected(tmp_path, tensors, settings).modules
    assert (module.part, module.block, module.scale) == ("transformer", "blocks.0", 0.5)
    assert module.norm == pytest.approx(float((up @ down).norm()) / 2, rel=1e-5)


def test_an_alpha_that_cannot_be_known_is_a_note(tmp_path: Path) -> None:
    names = {"base_model.model.q.lora_A.weight": torch.ones(2, 4), "base_model.model.q.lora_B.weight": torch.ones(4, 2)}
    found = inspected(tmp_path, names)
    assert "adapter_config.json" in found.notes[0]
    assert found.modules[0].norm == pytest.approx(8)


@pytest.mark.parametrize("changed", [False, True])
def test_the_header_s_hash_is_compared_with_the_content(tmp_path: Path, changed: bool) -> None:
    said = content_hash(write(tmp_path / "first.safetensors", lora()))
    tensors = lora()
    tensors[f"{LINEAR}.alpha"] += changed
    assert inspected(tmp_path, tensors, {"sshs_model_hash": said}).hash_matches is not changed
    assert inspected(tmp_path, tensors).hash_matches is None


def test_what_is_no_network_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="base model"):
        inspected(tmp_path, {"model.diffusion_model.out.weight": torch.ones(2, 2)})
    with pytest.raises(LoracoreError, match="no network that is known"):
        inspected(tmp_path, {"emb_params": torch.ones(2, 2)})


def test_a_file_that_is_no_safetensors_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="No such file"):
        inspect_file(tmp_path / "nowhere.safetensors")
    whole = write(tmp_path / "whole.safetensors", lora()).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(LoracoreError, match="cut off"):
        inspect_file(tmp_path / "cut.safetensors")
    torch.save(lora(), tmp_path / "old.pt")
    with pytest.raises(LoracoreError, match="pickle"):
        inspect_file(tmp_path / "old.pt")


def test_tensors_that_do_not_fit_are_told_with_their_shapes(tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match=rf"file\.safetensors: {LINEAR}: .*\[12, 5\].* do not fit"):
        inspected(tmp_path, {**lora(), f"{LINEAR}.lora_up.weight": torch.rand(12, 5)})


def test_factors_of_other_kinds_that_do_not_fit_are_told_with_file_and_shapes(tmp_path: Path) -> None:
    shapes = {"w1_a": (6, 2), "w1_b": (2, 5), "w2_a": (6, 3), "w2_b": (2, 5)}
    tensors = {f"lora_unet_a.hada_{name}": torch.rand(shape) for name, shape in shapes.items()}
    with pytest.raises(LoracoreError, match=r"file\.safetensors: lora_unet_a: .* do not fit .* hada_w2_a \[6, 3\]"):
        inspected(tmp_path, tensors)


def test_one_module_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count how many of the tensors that were read are still there whenever a module is looked at."""
    read: list[weakref.ref[Tensor]] = []
    alive = []

    def counted(module: Module, tensors: Mapping[str, Tensor], scale: float) -> float | None:
        read.extend(map(weakref.ref, tensors.values()))
        alive.append(sum(one() is not None for one in read))
        return change_norm(module, tensors, scale)

    monkeypatch.setattr("loracore.weights.inspect.inspecting.change_norm", counted)
    keys = [f"lora_unet_a_{number}" for number in range(20)]
    inspected(tmp_path, {name: one for key in keys for name, one in pair(key, 8, 8, 4).items()})
    assert len(alive) == 20
    assert max(alive) <= 4  # a module has two tensors; the one before may not be gone yet
