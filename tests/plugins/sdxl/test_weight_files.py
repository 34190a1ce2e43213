"""`loracore merge` and `loracore convert` on SDXL: other files, the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore import Models
from loracore.cli.main import run
from loracore.cli.request import Request, read_request
from loracore.training.assembly.run_network import adapters_for
from loracore.training.sampling import attach_weights
from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.runs import loaded
from tests.plugins.sdxl.test_saved_file import difference, loading_of, pipeline_pictures, request_of

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

Words = tuple[str, ...]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The same tiny model as a folder and as a checkpoint."""
    place = tmp_path_factory.mktemp("bases")
    return {
        "folder": tiny.write_folder(place / "folder"),
        "checkpoint": tiny.write_checkpoint(place / "single.safetensors"),
    }


@pytest.fixture(scope="module")
def lora(bases: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every module of U-Net and both text encoders, convolutions too, all factors random."""
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    save_file(random_lora(request_of(bases["folder"])), path, {"ss_steps": "7", "sshs_model_hash": "00"})
    return path


def random_lora(request: Request) -> dict[str, Tensor]:
    models = loading_of(request).models("text", "denoiser")
    targets = request.plugins.hook.lora_targets(models=models, config=request.config)
    network = adapters_for(request.plugins.hook, targets, request.config, 0, None)
    torch.manual_seed(5)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.file_tensors(torch.float32)


def state_with_live_adapters(models: Models, lora: Path, request: Request) -> dict[str, dict[str, Tensor]]:
    """Return what the layers compute with the file in front of them, as weights: their answer to each unit vector."""
    network = attach_weights(request.plugins.hook, request.config, load_file(lora), torch.device("cpu"), models)
    network.detach()
    states = {name: dict(module.state_dict()) for name, module in models.modules().items()}
    for entry in network.entries:
        for index, (layer, path) in enumerate(zip(entry.target.layers, entry.target.paths, strict=True)):
            change = entry.adapter.weight_change(index, [one.weight.float() for one in entry.target.layers])
            states[entry.target.part][f"{path}.weight"] = layer.weight + change.detach()
    return states


def beside(checkpoint: Path, folder: Path) -> Path:
    """Return the path of a checkpoint beside which stands what no tensor tells: configurations and tokenizers."""
    copytree(checkpoint.with_suffix(""), folder / "merged")
    return folder / "merged.safetensors"


@pytest.mark.parametrize("kind", ["folder", "checkpoint"])
def test_a_merged_checkpoint_loads_as_base_and_adapters(
    kind: str, bases: Mapping[str, Path], lora: Path, tmp_path: Path
) -> None:
    merged = beside(bases["checkpoint"], tmp_path)
    words = ("--pretrained_model_name_or_path", str(bases[kind]), "--models", str(lora), "--save_to", str(merged))
    assert run(["merge", "--arch", "sdxl", *words]) == 0
    assert set(load_file(merged)) == set(load_file(bases["checkpoint"]))
    wanted = state_with_live_adapters(loaded(bases[kind]), lora, request_of(bases[kind]))
    for name, module in loaded(merged).modules().items():
        for key, tensor in module.state_dict().items():
            assert torch.allclose(tensor, wanted[name][key], atol=1e-5), (name, key)


def test_a_merged_u_net_computes_what_live_adapters_compute(
    bases: Mapping[str, Path], lora: Path, tmp_path: Path
) -> None:
    merged = beside(bases["checkpoint"], tmp_path)
    base = str(bases["checkpoint"])
    words = ("--pretrained_model_name_or_path", base, "--models", str(lora), "--save_to", str(merged))
    assert run(["merge", "--arch", "sdxl", *words, "--ratios", "0.5"]) == 0
    live, request = loaded(bases["checkpoint"]), request_of(bases["checkpoint"])
    halved = {name: one / 2 if name.endswith("up.weight") else one for name, one in load_file(lora).items()}
    attach_weights(request.plugins.hook, request.config, halved, torch.device("cpu"), live)
    ours, theirs = _answer(loaded(merged)), _answer(live)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(_answer(loaded(bases["checkpoint"])), theirs, atol=1e-2)


def test_a_merged_checkpoint_keeps_the_marks_of_its_base(bases: Mapping[str, Path], lora: Path, tmp_path: Path) -> None:
    marked, merged = beside(bases["checkpoint"], tmp_path), tmp_path / "again.safetensors"
    number = {"conditioner.embedders.1.model.logit_scale": torch.tensor(4.6)}
    save_file({**load_file(bases["checkpoint"]), "v_pred": torch.zeros(0), **number}, marked)
    words = ("--pretrained_model_name_or_path", str(marked), "--models", str(lora), "--save_to", str(merged))
    assert run(["merge", "--arch", "sdxl", *words]) == 0
    assert load_file(merged).keys() == load_file(marked).keys()


@torch.no_grad()
def _answer(models: Models) -> Tensor:
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
    assert models.denoiser is not None
    found: Tensor = models.denoiser(**given).sample
    return found


def convert(source: Path, target: Path, base: Path, *words: str) -> dict[str, Tensor]:
    own = ("--network_weights", str(source), "--save_to", str(target), "--pretrained_model_name_or_path", str(base))
    assert run(["convert", "--arch", "sdxl", *own, *words]) == 0
    return load_file(target)


def test_the_converted_file_draws_in_diffusers_what_the_kohya_file_draws(
    bases: Mapping[str, Path], lora: Path, tmp_path: Path
) -> None:
    base, path = bases["folder"], tmp_path / "converted.safetensors"
    convert(lora, path, base)
    config = request_of(base).config
    theirs, before = pipeline_pictures(base, config, lora)
    ours, taken = pipeline_pictures(base, config, path)
    assert taken == before == len({name.partition(".")[0] for name in load_file(lora)})
    assert difference(ours, theirs) <= 1  # of 255: rounding to bytes


def test_every_key_is_diffusers_own(bases: Mapping[str, Path], lora: Path, tmp_path: Path) -> None:
    found = convert(lora, tmp_path / "converted.safetensors", bases["folder"])
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(tmp_path / "converted.safetensors"))
    assert set(state) == set(found)
    assert alphas is None
    assert "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight" in found
    assert "unet.down_blocks.1.resnets.0.conv1.lora_B.weight" in found


def changes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what any reader makes of kohya's names."""
    keys = {name.partition(".")[0] for name in tensors}
    pairs = {key: (tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]) for key in keys}
    return {
        key: up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"] / len(down))
        for key, (down, up) in pairs.items()
    }


def test_there_and_back_changes_nothing(bases: Mapping[str, Path], lora: Path, tmp_path: Path) -> None:
    convert(lora, tmp_path / "there.safetensors", bases["folder"])
    back = convert(tmp_path / "there.safetensors", tmp_path / "back.safetensors", bases["folder"])
    before = load_file(lora)
    assert set(back) == set(before)
    assert {name: one.shape for name, one in back.items()} == {name: one.shape for name, one in before.items()}
    wanted = changes(before)  # alpha / rank is 1/4 and 1/2: exact
    assert all(torch.equal(change, wanted[key]) for key, change in changes(back).items())


def test_standard_sizes_need_no_base_model(tmp_path: Path) -> None:
    rank, key = 2, "lora_unet_input_blocks_4_1_proj_in"
    pair = {f"{key}.lora_down.weight": torch.rand(rank, 640), f"{key}.lora_up.weight": torch.rand(640, rank)}
    save_file(pair, tmp_path / "lora.safetensors")
    own = ["--network_weights", str(tmp_path / "lora.safetensors"), "--save_to", str(tmp_path / "new.safetensors")]
    assert run(["convert", "--arch", "sdxl", *own]) == 0
    assert sorted(load_file(tmp_path / "new.safetensors")) == [
        f"unet.down_blocks.1.attentions.0.proj_in.lora_{factor}.weight" for factor in "AB"
    ]


def test_a_request_for_merging_knows_its_own_options(bases: Mapping[str, Path]) -> None:
    from loracore.weights.options import MergeOptions

    words = ["--arch", "sdxl", "--pretrained_model_name_or_path", str(bases["folder"]), "--ratios", "0.5", "1"]
    assert read_request(words, tables=(MergeOptions,)).config[MergeOptions].ratios == (0.5, 1)
