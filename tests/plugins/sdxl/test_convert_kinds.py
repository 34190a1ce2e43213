"""`loracore convert` on SDXL for DoRA, a third factor, and files that spell kohya's names in another way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from loracore_sdxl.names import block_names, original_name
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore.cli.main import run
from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.runs import DENOISER, loaded
from tests.plugins.sdxl.test_weight_files import convert

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

RANK = 2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder."""
    return tiny.write_folder(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def layers(base: Path) -> dict[str, str]:
    """The path of every layer of transformers and resnets in diffusers' layout, by its key."""
    unet = loaded(base, DENOISER).denoiser
    assert isinstance(unet, UNet2DConditionModel)
    blocks = block_names(unet)
    found = {}
    for name, module in unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and (".attentions." in name or ".resnets." in name):
            found[f"lora_unet_{original_name(name, blocks).replace('.', '_')}"] = name
    return found


def weights_of(base: Path) -> dict[str, Tensor]:
    unet = loaded(base, DENOISER).denoiser
    assert unet is not None
    return dict(unet.state_dict())


def dora(layers: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return factors and magnitudes of rows for every layer, alpha of half the rank."""
    torch.manual_seed(3)
    found: dict[str, Tensor] = {}
    for key, path in layers.items():
        weight = weights[f"{path}.weight"]
        ones = [1] * (weight.dim() - 2)
        found[f"{key}.alpha"] = torch.tensor(RANK / 2)
        found[f"{key}.lora_down.weight"] = torch.randn(RANK, *weight.shape[1:]) * 0.2
        found[f"{key}.lora_up.weight"] = torch.randn(len(weight), RANK, *ones) * 0.2
        found[f"{key}.dora_scale"] = torch.rand(len(weight), 1, *ones) + 0.5
    return found


def decomposed(tensors: Mapping[str, Tensor], key: str, weight: Tensor) -> Tensor:
    """Return m · (W + ΔW) / ‖W + ΔW‖, row by row."""
    change = tensors[f"{key}.lora_up.weight"].flatten(1) @ tensors[f"{key}.lora_down.weight"].flatten(1)
    whole = weight.flatten(1) + change * (tensors[f"{key}.alpha"] / RANK)
    rows = tensors[f"{key}.dora_scale"].reshape(-1, 1) * whole / whole.norm(dim=1, keepdim=True)
    found: Tensor = rows.view(weight.shape)
    return found


@torch.no_grad()
def answer(unet: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    given: dict[str, Any] = {
        "sample": torch.randn(1, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn(1, 7, sum(tiny.WIDTHS), generator=generator),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(1, tiny.WIDTHS[1], generator=generator),
            "time_ids": torch.rand(1, 6, generator=generator) * 64,
        },
    }
    found: Tensor = unet(**given).sample
    return found


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: one.contiguous() for name, one in tensors.items()}, path)
    return path


def test_a_dora_with_convolutions_is_whole_in_diffusers(base: Path, layers: Mapping[str, str], tmp_path: Path) -> None:
    weights = weights_of(base)
    tensors = dora(layers, weights)
    found = convert(saved(tmp_path / "dora.safetensors", tensors), tmp_path / "peft.safetensors", base)
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(tmp_path / "peft.safetensors"))
    assert set(state) == set(found)
    unet: Any = loaded(base, DENOISER).denoiser
    StableDiffusionXLPipeline.load_lora_into_unet(state, alphas, unet)
    taken = [name for name, _ in unet.named_modules() if name.endswith("lora_magnitude_vector.default_0")]
    assert len(taken) == len(layers)
    wanted: Any = loaded(base, DENOISER).denoiser
    changed = {f"{path}.weight": decomposed(tensors, key, weights[f"{path}.weight"]) for key, path in layers.items()}
    wanted.load_state_dict({**weights, **changed})
    assert torch.allclose(answer(unet), answer(wanted), atol=1e-4)


def test_a_dora_comes_back_as_it_was(base: Path, layers: Mapping[str, str], tmp_path: Path) -> None:
    tensors = dora(layers, weights_of(base))
    convert(saved(tmp_path / "dora.safetensors", tensors), tmp_path / "there.safetensors", base)
    back = convert(tmp_path / "there.safetensors", tmp_path / "back.safetensors", base)
    assert {name: one.shape for name, one in back.items()} == {name: one.shape for name, one in tensors.items()}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors if name.endswith("dora_scale"))


@pytest.mark.parametrize("prefix", ["lora_unet_", "lycoris_"])
@pytest.mark.parametrize("tensor", ["lora_down.weight", "hada_w1_a"])
def test_diffusers_blocks_behind_kohyas_prefix_become_the_original_ones(
    prefix: str, tensor: str, base: Path, layers: Mapping[str, str], tmp_path: Path
) -> None:
    before = {f"{prefix}{path.replace('.', '_')}": key for key, path in layers.items()}
    other = "lora_up.weight" if tensor.startswith("lora") else "hada_w1_b"
    weights = weights_of(base)
    tensors: dict[str, Tensor] = {}
    for name, key in before.items():
        weight = weights[f"{layers[key]}.weight"]
        tensors |= {f"{name}.{tensor}": torch.randn(RANK, *weight.shape[1:])}
        tensors |= {f"{name}.{other}": torch.randn(len(weight), RANK, *[1] * (weight.dim() - 2))}
    path = saved(tmp_path / "a.safetensors", tensors)
    found = convert(path, tmp_path / "b.safetensors", base, "--to", "kohya")
    assert set(found) == {f"{key}.{one}" for key in layers for one in (tensor, other)}
    for name, key in before.items():
        assert torch.equal(found[f"{key}.{tensor}"], tensors[f"{name}.{tensor}"])


def test_the_older_prefix_of_oft_becomes_the_one_that_every_client_reads(
    base: Path, layers: Mapping[str, str], tmp_path: Path
) -> None:
    key = next(key for key in layers if key.endswith("attn1_to_q"))
    blocks = torch.randn(4, 2, 2)
    tensors = {f"{key.replace('lora_unet', 'oft_unet')}.oft_blocks": blocks}
    found = convert(saved(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors", base, "--to", "kohya")
    assert list(found) == [f"{key}.oft_blocks"]
    assert torch.equal(found[f"{key}.oft_blocks"], blocks)


def test_a_third_factor_is_whole_in_diffusers(base: Path, layers: Mapping[str, str], tmp_path: Path) -> None:
    key = next(key for key in layers if key.endswith("in_layers_2"))
    weights = weights_of(base)
    outputs, inputs, *kernel = weights[f"{layers[key]}.weight"].shape
    factors = {
        "lora_down": torch.randn(RANK, inputs, 1, 1),
        "lora_mid": torch.randn(RANK, RANK, *kernel),
        "lora_up": torch.randn(outputs, RANK, 1, 1),
    }
    tensors = {f"{key}.{name}.weight": one for name, one in factors.items()}
    found = convert(saved(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors", base)
    unet: Any = loaded(base, DENOISER).denoiser
    StableDiffusionXLPipeline.load_lora_into_unet(found, None, unet)
    change = torch.einsum("orxy,rskl,sixy->oikl", factors["lora_up"], factors["lora_mid"], factors["lora_down"])
    wanted: Any = loaded(base, DENOISER).denoiser
    wanted.load_state_dict({**weights, f"{layers[key]}.weight": weights[f"{layers[key]}.weight"] + change})
    assert torch.allclose(answer(unet), answer(wanted), atol=1e-4)


def kinds(outputs: int, inputs: int, kernel: tuple[int, ...]) -> dict[str, dict[str, Tensor]]:
    """Return a module of every other network for a layer, by its name."""
    half, flat = outputs // 2, inputs * (9 if kernel else 1)
    linear = {name: torch.randn(*size) for name, size in (("a1", (inputs, 2)), ("a2", (2, inputs)))}
    linear |= {name: torch.randn(*size) for name, size in (("b1", (outputs, 2)), ("b2", (2, inputs)))}
    found = {
        "LoHa": {f"hada_w{n}_a": torch.randn(outputs, 2) for n in (1, 2)}
        | {f"hada_w{n}_b": torch.randn(2, flat) for n in (1, 2)},
        "LoKr": {"lokr_w1": torch.randn(2, 2), "lokr_w2": torch.randn(half, inputs // 2, *kernel)},
        "full": {"diff": torch.randn(outputs, inputs, *kernel)},
        "OFT": {"oft_blocks": torch.randn(half, 2, 2)},
    }
    if not kernel:
        found["GLoRA"] = {f"{name}.weight": one for name, one in linear.items()}
    alpha = {"full": None, "OFT": torch.tensor(0.0)}
    given = {kind: alpha.get(kind, torch.tensor(1.0)) for kind in found}
    return {kind: tensors | ({} if (one := given[kind]) is None else {"alpha": one}) for kind, tensors in found.items()}


def test_other_networks_become_loras_that_merge_to_the_same(
    base: Path, layers: Mapping[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(7)
    weights = weights_of(base)
    tensors: dict[str, Tensor] = {}
    for end in ("attn1_to_q", "in_layers_2"):
        keys = [key for key in layers if key.endswith(end)]
        outputs, inputs, *kernel = weights[f"{layers[keys[0]]}.weight"].shape
        keys = [key for key in keys if weights[f"{layers[key]}.weight"].shape[:2] == (outputs, inputs)]
        modules = kinds(outputs, inputs, tuple(kernel))
        drawn = zip(keys, modules.values(), strict=False)
        tensors |= {f"{key}.{name}": one for key, module in drawn for name, one in module.items()}
    given = {name.partition(".")[0] for name in tensors}
    path = saved(tmp_path / "others.safetensors", tensors)
    convert(path, tmp_path / "lora.safetensors", base, "--to", "kohya", "--new_rank", "64")
    wanted, found, before = (
        merged(one, base, tmp_path, ratio)
        for one, ratio in ((path, "1"), (tmp_path / "lora.safetensors", "1"), (path, "0"))
    )
    assert sum(not torch.equal(wanted[name], before[name]) for name in wanted) == len(given) >= 6
    assert all(torch.allclose(found[name], wanted[name], atol=1e-4) for name in wanted)


def merged(network: Path, base: Path, folder: Path, ratio: str) -> dict[str, Tensor]:
    own = ["--pretrained_model_name_or_path", str(base), "--models", str(network), "--ratios", ratio]
    assert run(["merge", "--arch", "sdxl", *own, "--save_to", str(folder / "m.safetensors"), "--overwrite"]) == 0
    return load_file(folder / "m.safetensors")
