"""`loracore convert` and `extract` on SD3 for fused layers, swapped halves, DoRA and other networks than LoRA."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore.cli.main import run
from loracore.weights.headers import read_header
from tests.plugins.sd3.runs import DENOISER, loaded
from tests.plugins.sd3.test_weight_files import answer, changes, convert

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

PROJ, QKV = "lora_unet_joint_blocks_0_x_block_attn_proj", "lora_unet_joint_blocks_0_x_block_attn_qkv"
OURS = "transformer.transformer_blocks.0.attn"


@pytest.fixture(scope="module")
def data() -> Path:
    return Path(__file__).parents[2] / "data"


@pytest.fixture
def golden(data: Path) -> dict[str, Tensor]:
    return load_file(data / "forward-sd3.safetensors")


@pytest.fixture
def base(data: Path, tmp_path: Path) -> Path:
    """The golden base model without prefix in float32; its file holds float8 to be small."""
    path = tmp_path / "base.safetensors"
    stored = load_file(data / "tiny-sd3-mmdit.safetensors")
    save_file({name.removeprefix("model.diffusion_model."): tensor.float() for name, tensor in stored.items()}, path)
    return path


@pytest.fixture
def lora(data: Path) -> Path:
    return data / "tiny-sd3-lora.safetensors"


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: one.contiguous() for name, one in tensors.items()}, path)
    return path


def width(base: Path) -> int:
    return load_file(base)["joint_blocks.0.x_block.attn.proj.weight"].shape[0]


def dora_of(lora: Path, base: Path) -> dict[str, Tensor]:
    """Return the golden LoRA with random magnitudes for the rows of each weight."""
    tensors, torch_seed = load_file(lora), torch.Generator().manual_seed(1)
    ups = {name.partition(".")[0]: one for name, one in tensors.items() if name.endswith("lora_up.weight")}
    magnitudes = {
        f"{key}.dora_scale": 0.5 + torch.rand(len(up), *[1] * (up.dim() - 1), generator=torch_seed)
        for key, up in ups.items()
    }
    return {name: one.float() for name, one in tensors.items()} | magnitudes


def test_a_dora_is_whole_in_diffusers(lora: Path, base: Path, golden: Mapping[str, Tensor], tmp_path: Path) -> None:
    tensors = dora_of(lora, base)
    found = convert(saved(tmp_path / "dora.safetensors", tensors), tmp_path / "peft.safetensors", base)
    state = StableDiffusion3Pipeline.lora_state_dict(str(tmp_path / "peft.safetensors"))
    assert set(state) == set(found)
    transformer: Any = loaded(base, DENOISER).denoiser
    StableDiffusion3Pipeline.load_lora_into_transformer(state, transformer)
    taken = [name for name, _ in transformer.named_modules() if name.endswith("lora_magnitude_vector.default_0")]
    assert len(taken) * 3 == len(found) == 33 * 3
    changed = {**load_file(base), **_decomposed(tensors, base)}
    wanted = loaded(saved(tmp_path / "changed.safetensors", changed), DENOISER).denoiser
    assert torch.allclose(answer(transformer, golden), answer(wanted, golden), atol=1e-4)


def _decomposed(tensors: Mapping[str, Tensor], base: Path) -> dict[str, Tensor]:
    """Return each weight of the file's own layout as m · (W + ΔW) / ‖W + ΔW‖, row by row."""
    deltas, found = changes(tensors), {}
    for name, weight in load_file(base).items():
        key = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        if name.endswith(".weight") and key in deltas:
            whole = weight.flatten(1) + deltas[key]
            rows = tensors[f"{key}.dora_scale"].reshape(-1, 1) * whole / whole.norm(dim=1, keepdim=True)
            found[name] = rows.view(weight.shape)
    return found


def test_a_dora_comes_back_as_it_was(lora: Path, base: Path, tmp_path: Path) -> None:
    tensors = dora_of(lora, base)
    convert(saved(tmp_path / "dora.safetensors", tensors), tmp_path / "there.safetensors", base)
    back = convert(tmp_path / "there.safetensors", tmp_path / "back.safetensors", base)
    assert set(back) == set(tensors)
    scales = [name for name in tensors if name.endswith("dora_scale")]
    assert all(torch.equal(back[name], tensors[name]) for name in scales)


def loha(key: str, outputs: int, inputs: int, rank: int = 2) -> dict[str, Tensor]:
    drawn = {
        f"w{number}_{side}": torch.randn(*size)
        for number in (1, 2)
        for side, size in (("a", (outputs, rank)), ("b", (rank, inputs)))
    }
    return {f"{key}.hada_{name}": one for name, one in drawn.items()} | {f"{key}.alpha": torch.tensor(1.0)}


def loha_change(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    first, second = (tensors[f"{key}.hada_w{number}_a"] @ tensors[f"{key}.hada_w{number}_b"] for number in (1, 2))
    return first * second / 2  # alpha / rank


def test_a_loha_becomes_the_nearest_lora_of_each_layer(base: Path, tmp_path: Path) -> None:
    size = width(base)
    tensors = loha(PROJ, size, size) | loha(QKV, 3 * size, size)
    path = saved(tmp_path / "loha.safetensors", tensors)
    found = convert(path, tmp_path / "peft.safetensors", base, "--new_rank", "4")  # LoHa's rank is at most 2 · 2
    assert {len(one) for name, one in found.items() if "lora_A" in name} == {4}
    layers = [f"{OURS}.to_{one}" for one in ("q", "k", "v", "out.0")]
    rows = [found[f"{layer}.lora_B.weight"] @ found[f"{layer}.lora_A.weight"] for layer in layers]
    wanted = torch.cat([loha_change(tensors, QKV), loha_change(tensors, PROJ)])
    assert torch.allclose(torch.cat(rows), wanted, atol=1e-4)


def test_a_loha_becomes_a_lora_with_kohyas_names(base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    size = width(base)
    tensors = loha(PROJ, size, size) | loha(QKV, 3 * size, size)
    path = saved(tmp_path / "loha.safetensors", tensors)
    found = convert(path, tmp_path / "lora.safetensors", base, "--to", "kohya", "--new_rank", "4")
    for key, change in changes(found).items():
        assert torch.allclose(change, loha_change(tensors, key), atol=1e-4)
    assert "100.00% of the change is kept" in capfd.readouterr().err


def test_what_a_smaller_rank_keeps_is_told(base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    size = width(base)
    tensors = loha(PROJ, size, size)
    path = saved(tmp_path / "loha.safetensors", tensors)
    convert(path, tmp_path / "lora.safetensors", base, "--to", "kohya", "--new_rank", "1")
    values = torch.linalg.svdvals(loha_change(tensors, PROJ)).square()
    assert f"{float(values[0] / values.sum()):.2%} of the change is kept" in capfd.readouterr().err


def column_dora(base: Path) -> dict[str, Tensor]:
    size = width(base)
    pair = {f"{PROJ}.lora_down.weight": torch.randn(2, size), f"{PROJ}.lora_up.weight": torch.randn(size, 2)}
    return pair | {f"{PROJ}.dora_scale": 0.5 + torch.rand(1, size), f"{PROJ}.alpha": torch.tensor(2.0)}


def refused(capfd: pytest.CaptureFixture[str], source: Path, target: Path, *words: str) -> str:
    own = ("--network_weights", str(source), "--save_to", str(target))
    assert run(["convert", "--arch", "sd3", *own, *words]) == 2
    assert not target.exists()
    return capfd.readouterr().err


def test_magnitudes_of_columns_have_no_place_in_peft(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "dora.safetensors", column_dora(base))
    words = ("--pretrained_model_name_or_path", str(base))
    said = refused(capfd, path, tmp_path / "new.safetensors", *words)
    assert "a magnitude for each column" in said
    assert "--new_rank" in said


def test_magnitudes_of_columns_become_a_lora_with_the_base_models_weights(base: Path, tmp_path: Path) -> None:
    tensors = column_dora(base)
    size = str(width(base))
    path = saved(tmp_path / "dora.safetensors", tensors)
    found = convert(path, tmp_path / "lora.safetensors", base, "--to", "kohya", "--new_rank", size)
    weight = load_file(base)["joint_blocks.0.x_block.attn.proj.weight"]
    whole = weight + tensors[f"{PROJ}.lora_up.weight"] @ tensors[f"{PROJ}.lora_down.weight"]
    wanted = tensors[f"{PROJ}.dora_scale"] * whole / whole.norm(dim=0, keepdim=True) - weight
    assert torch.allclose(changes(found)[PROJ], wanted, atol=1e-4)


def test_a_change_of_the_base_models_weight_needs_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tensors = {f"{PROJ}.oft_blocks": torch.zeros(24, 64, 64), f"{PROJ}.alpha": torch.tensor(0.0)}
    path = saved(tmp_path / "oft.safetensors", tensors)
    said = refused(capfd, path, tmp_path / "new.safetensors", "--new_rank", "1")
    assert "depends on the base model's weight" in said
    assert "give --pretrained_model_name_or_path" in said


@pytest.mark.parametrize("prefix", ["lycoris_", "lora_transformer_", "lora_unet_"])
def test_single_layers_behind_kohyas_prefix_become_fused_ones(prefix: str, base: Path, tmp_path: Path) -> None:
    size = width(base)
    layers = {one: (torch.randn(2, size), torch.randn(size, 2)) for one in ("to_q", "to_k", "to_v")}
    tensors = {
        f"{prefix}transformer_blocks_0_attn_{one}.lora_{side}.weight": factor
        for one, pair in layers.items()
        for side, factor in zip(("down", "up"), pair, strict=True)
    }
    found = convert(saved(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors", base, "--to", "kohya")
    wanted = torch.cat([up @ down for down, up in layers.values()])
    assert torch.allclose(changes(found)[QKV], wanted, atol=1e-5)


def test_paths_with_dots_become_kohyas(lora: Path, base: Path, tmp_path: Path) -> None:
    names = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "alpha": "alpha"}
    before = load_file(lora)
    dotted = {}
    for name, tensor in before.items():
        key, _, kind = name.partition(".")
        dotted[f"diffusion_model.{_with_dots(key, base)}.{names[kind]}"] = tensor
    found = convert(saved(tmp_path / "a.safetensors", dotted), tmp_path / "b.safetensors", base, "--to", "kohya")
    assert {name: one.tolist() for name, one in found.items()} == {name: one.tolist() for name, one in before.items()}


def _with_dots(key: str, base: Path) -> str:
    paths = [name.rpartition(".")[0] for name in load_file(base)]
    return next(path for path in paths if f"lora_unet_{path.replace('.', '_')}" == key)


def comfy_weights(tensors: Mapping[str, Tensor], base: Path) -> dict[str, Tensor]:
    """Return what ComfyUI patches, told independently: ``lora_unet_`` + original path, up · down · alpha / rank."""
    found = {}
    for name, weight in load_file(base).items():
        key = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        if f"{key}.lora_up.weight" in tensors:
            up, down = tensors[f"{key}.lora_up.weight"], tensors[f"{key}.lora_down.weight"]
            scale = tensors[f"{key}.alpha"] / len(down) if f"{key}.alpha" in tensors else 1.0
            found[name] = weight + (up.flatten(1) @ down.flatten(1) * scale).view(weight.shape)
    return found


def test_an_extracted_lora_gives_the_tuned_model_in_other_programs(
    lora: Path, base: Path, tmp_path: Path, extracting: Callable[..., int]
) -> None:
    wanted = comfy_weights({name: one.float() for name, one in load_file(lora).items()}, base)
    tuned = saved(tmp_path / "tuned.safetensors", {**load_file(base), **wanted})
    ranks = {name.partition(".")[0]: len(one) for name, one in load_file(lora).items() if "lora_down" in name}
    words = ("--network_dim", str(max(ranks.values())), "--clamp_quantile", "1")
    assert extracting(base, tuned, *words) == 0
    found = load_file(tmp_path / "new.safetensors")
    given = comfy_weights(found, base)
    assert len(given) * 3 == len(found)
    blocks = [name for name in wanted if name.startswith("joint_blocks.")]
    assert len(blocks) > 15
    for name in blocks:
        change = wanted[name] - load_file(base)[name]
        assert (given[name] - wanted[name]).norm() <= 1e-4 * change.norm(), name
    assert read_header(tmp_path / "new.safetensors").metadata["ss_base_model_version"] == "medium"


@pytest.fixture
def extracting(tmp_path: Path) -> Callable[..., int]:
    def call(base: Path, tuned: Path, *words: str) -> int:
        models = ("--pretrained_model_name_or_path", str(base), "--tuned_model", str(tuned))
        return run(["extract", "--arch", "sd3", *models, "--save_to", str(tmp_path / "new.safetensors"), *words])

    return call


def test_what_text_encoders_wait_for_is_told(
    lora: Path, base: Path, tmp_path: Path, extracting: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = comfy_weights({name: one.float() for name, one in load_file(lora).items()}, base)
    tuned = saved(tmp_path / "tuned.safetensors", {**load_file(base), **wanted})
    assert extracting(base, tuned, "--network_args", "x_mlp_dim=2", "context_attn_dim=0") == 0
    assert "text encoders are not compared (they are with --save_clip" in capfd.readouterr().err
    found = load_file(tmp_path / "new.safetensors")
    assert {len(one) for name, one in found.items() if "x_block_mlp" in name and "lora_down" in name} == {2}
    assert not any("context_block_attn" in name for name in found)


def test_models_of_two_kinds_have_no_difference(
    data: Path, base: Path, extracting: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert extracting(base, data / "tiny-sd35-mmdit.safetensors") == 2
    assert "same kind and size" in capfd.readouterr().err


def test_settings_of_peft_survive_no_conversion(lora: Path, base: Path, tmp_path: Path) -> None:
    found = convert(lora, tmp_path / "peft.safetensors", base)
    settings = {"transformer.lora_alpha": 2, "transformer.r": 2}
    save_file(found, tmp_path / "again.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    convert(tmp_path / "again.safetensors", tmp_path / "back.safetensors", base)
    assert "lora_adapter_metadata" not in read_header(tmp_path / "back.safetensors").metadata
