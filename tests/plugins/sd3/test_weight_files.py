"""`loracore merge` and `loracore convert` on SD3: other files, the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore import LoraTarget, Models
from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.training.assembly.run_network import adapters_for
from loracore.training.sampling import attach_weights
from loracore.weights.headers import read_header
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import ALL, DENOISER, loaded
from tests.plugins.sd3.test_targets import Rows, rows, transformer, written
from tests.plugins.sd3.test_targets import golden as golden_keys

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

PEFT_PAIRS = {"sd3": 33, "sd35": 37}  # 25 and 27 modules, of which 4 and 5 are q, k and v


def convert(source: Path, target: Path, base: Path | None, *words: str) -> dict[str, Tensor]:
    model = () if base is None else ("--pretrained_model_name_or_path", str(base))
    own = ("--network_weights", str(source), "--save_to", str(target), *model)
    assert run(["convert", "--arch", "sd3", *own, *words]) == 0
    return load_file(target)


@torch.no_grad()
def answer(transformer: nn.Module | None, golden: Mapping[str, Tensor]) -> Tensor:
    assert transformer is not None
    found: Tensor = transformer(
        hidden_states=golden["in.latent"],
        encoder_hidden_states=golden["in.context"],
        pooled_projections=golden["in.pooled"],
        timestep=golden["in.timestep"],
    ).sample
    return found


@pytest.fixture(scope="module")
def golden(data: Path) -> dict[str, Tensor]:
    return load_file(data / "forward-sd3.safetensors")


@pytest.fixture(scope="module")
def data() -> Path:
    return Path(__file__).parents[2] / "data"


@pytest.fixture
def whole(data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that writes a golden base model in float32; its file holds float8 to be small."""

    def written(kind: str) -> Path:
        path = tmp_path / f"{kind}.safetensors"
        stored = load_file(data / f"tiny-{kind}-mmdit.safetensors")
        save_file({name: tensor.float() for name, tensor in stored.items()}, path)
        return path

    return written


@pytest.mark.parametrize("kind", ["sd3", "sd35"])
def test_the_golden_file_means_the_same_in_diffusers(
    kind: str, data: Path, golden: Mapping[str, Tensor], whole: Callable[[str], Path], tmp_path: Path
) -> None:
    base = whole(kind)
    found = convert(data / f"tiny-{kind}-lora.safetensors", tmp_path / "peft.safetensors", base)
    transformer: Any = loaded(base, DENOISER).denoiser
    StableDiffusion3Pipeline.load_lora_into_transformer(found, transformer)
    taken = [name for name, _ in transformer.named_modules() if name.endswith("lora_A.default_0")]
    assert len(taken) * 2 == len(found) == PEFT_PAIRS[kind] * 2
    assert torch.allclose(answer(transformer, golden), golden[f"{kind}.out_lora"], atol=1e-5)


@pytest.mark.parametrize(("kind", "ratio"), [("sd3", 1), ("sd3", 0.5), ("sd35", 1)])
def test_the_golden_file_merges_to_the_golden_output(
    kind: str,
    ratio: float,
    data: Path,
    golden: Mapping[str, Tensor],
    whole: Callable[[str], Path],
    separate: Mapping[str, str],
    tmp_path: Path,
) -> None:
    path, base = tmp_path / "merged.safetensors", whole(kind)
    words = ("--pretrained_model_name_or_path", str(base), "--models", str(data / f"tiny-{kind}-lora.safetensors"))
    own = ("--save_to", str(path), "--ratios", str(ratio), "--vae", separate["vae"])
    assert run(["merge", "--arch", "sd3", *words, *own]) == 0
    assert {name for name in load_file(path) if not name.startswith("first_stage_model.")} == set(load_file(base))
    wanted = golden[f"{kind}.out_lora" if ratio == 1 else f"{kind}.out_lora_half"]
    assert torch.allclose(answer(loaded(path, DENOISER).denoiser, golden), wanted, atol=1e-5)


def changes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what any reader makes of kohya's names."""
    keys = {name.partition(".")[0] for name in tensors}
    pairs = {key: (tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]) for key in keys}
    return {
        key: up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"] / len(down))
        for key, (down, up) in pairs.items()
    }


@pytest.mark.parametrize("kind", ["sd3", "sd35"])
def test_there_and_back_changes_nothing(kind: str, data: Path, tmp_path: Path) -> None:
    base, lora = data / f"tiny-{kind}-mmdit.safetensors", data / f"tiny-{kind}-lora.safetensors"
    convert(lora, tmp_path / "there.safetensors", base)
    back, before = convert(tmp_path / "there.safetensors", tmp_path / "back.safetensors", base), load_file(lora)
    assert {name: one.shape for name, one in back.items()} == {name: one.shape for name, one in before.items()}
    found, wanted = changes(back), changes(before)
    powers = {key for key in wanted if len(before[f"{key}.lora_down.weight"]) in {2, 4}}  # alpha is 2
    assert len(powers) > 15
    assert all(torch.equal(found[key], wanted[key]) for key in powers)
    assert all(torch.allclose(found[key], wanted[key], rtol=1e-5, atol=1e-6) for key in wanted)


def random_lora(path: Path, base: Path, *words: str) -> Path:
    """Write a file of random numbers for every place of a network."""
    request = read_request(["--arch", "sd3", "--pretrained_model_name_or_path", str(base), *words])
    models = request.plugins.hook.load_models(
        parts=frozenset({"text", "denoiser"}), device=torch.device("meta"), dtype=torch.float32, config=request.config
    )
    targets: list[LoraTarget] = request.plugins.hook.lora_targets(models=models, config=request.config)
    network = adapters_for(request.plugins.hook, targets, request.config, 0, None)
    network.modules.to_empty(device="cpu")
    torch.manual_seed(5)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.2)
    save_file(network.file_tensors(torch.float32), path)
    return path


def pipeline_of(models: Models) -> Any:
    return StableDiffusion3Pipeline(
        transformer=models.denoiser,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=models.vae,
        text_encoder=models.text["te1"],
        text_encoder_2=models.text["te2"],
        text_encoder_3=models.text["te3"],
        tokenizer=None,
        tokenizer_2=None,
        tokenizer_3=None,
    )


def test_the_pipeline_takes_every_module(folder: Path, tmp_path: Path) -> None:
    lora = random_lora(tmp_path / "lora.safetensors", folder, "--network_args", "emb_dims=1,2,3,4,5,6")
    converted = convert(lora, tmp_path / "peft.safetensors", folder)
    theirs, live = loaded(folder), loaded(folder)
    pipeline = pipeline_of(theirs)
    pipeline.load_lora_weights(tmp_path, weight_name="peft.safetensors")
    taken = [name for module in theirs.modules().values() for name, _ in module.named_modules()]
    assert sum(name.endswith("lora_A.default_0") for name in taken) * 2 == len(converted)
    request = read_request(["--arch", "sd3", "--pretrained_model_name_or_path", str(folder)])
    attach_weights(request.plugins.hook, request.config, load_file(lora), torch.device("cpu"), live)
    tokens = torch.arange(10)[None]
    for part in ("te1", "te2"):
        ours, other = (models.text[part](tokens, output_hidden_states=True) for models in (live, theirs))
        assert torch.allclose(ours.hidden_states[-2], other.hidden_states[-2], atol=1e-5)
    inputs = {"in.latent": torch.randn(1, 16, 8, 8), "in.context": torch.randn(1, 9, tiny.CONTEXT)}
    inputs |= {"in.pooled": torch.randn(1, sum(tiny.WIDTHS)), "in.timestep": torch.tensor([500])}
    assert torch.allclose(answer(live.denoiser, inputs), answer(theirs.denoiser, inputs), atol=1e-4)


def test_blocks_of_split_qkv_are_told_apart(folder: Path, tmp_path: Path) -> None:
    words = ("--network_args", "split_qkv=True", "--network_dim", "2", "--network_train_unet_only")
    lora = random_lora(tmp_path / "lora.safetensors", folder, *words)
    found = convert(lora, tmp_path / "peft.safetensors", folder)
    downs = [found[f"transformer.transformer_blocks.0.attn.to_{kind}.lora_A.weight"] for kind in "qkv"]
    assert [len(down) for down in downs] == [2, 2, 2]
    assert not torch.equal(downs[0], downs[1])
    back = convert(tmp_path / "peft.safetensors", tmp_path / "back.safetensors", folder)
    wanted = load_file(lora)
    assert {name: one.shape for name, one in back.items()} == {name: one.shape for name, one in wanted.items()}
    before, after = changes(wanted), changes(back)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("kind", ["folder", "checkpoint"])
def test_text_encoders_are_written_when_they_are_asked_for(
    kind: str, folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    base = folder if kind == "folder" else checkpoint
    lora = random_lora(tmp_path / "lora.safetensors", base)
    path = tmp_path / "merged.safetensors"
    copytree(checkpoint.with_suffix(""), path.with_suffix(""))  # the sizes that no tensor tells
    words = ("--pretrained_model_name_or_path", str(base), "--models", str(lora), "--save_to", str(path))
    assert run(["merge", "--arch", "sd3", *words, "--save_clip", "--save_t5xxl"]) == 0
    assert set(load_file(path)) == set(load_file(checkpoint))
    merged, live = loaded(path, ALL), loaded(base, ALL)
    request = read_request(["--arch", "sd3", "--pretrained_model_name_or_path", str(base)])
    network = attach_weights(request.plugins.hook, request.config, load_file(lora), torch.device("cpu"), live)
    network.detach()
    states = {name: module.state_dict() for name, module in live.modules().items()}
    for entry in network.entries:
        for index, name in enumerate(entry.target.paths):
            weight = states[entry.target.part][f"{name}.weight"]
            weight += entry.adapter.weight_change(index, [one.weight for one in entry.target.layers]).detach()
    for name, module in merged.modules().items():
        for key, tensor in module.state_dict().items():
            assert torch.allclose(tensor, states[name][key], atol=1e-5), (name, key)


def test_text_encoders_that_are_not_written_cannot_be_merged_into(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = random_lora(tmp_path / "lora.safetensors", folder)
    words = ("--pretrained_model_name_or_path", str(folder), "--models", str(lora))
    assert run(["merge", "--arch", "sd3", *words, "--save_to", str(tmp_path / "merged.safetensors")]) == 2
    told = capsys.readouterr().err
    assert "the file trains te1, te2, but only vae, unet are written" in told
    assert "of --save_clip, --save_t5xxl, add those that write these parts" in told


def test_t5_that_the_model_lacks_cannot_be_written(
    bare: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = random_lora(tmp_path / "lora.safetensors", folder, "--network_train_unet_only")
    words = ("--pretrained_model_name_or_path", str(bare), "--models", str(lora), "--save_t5xxl")
    assert run(["merge", "--arch", "sd3", *words, "--save_to", str(tmp_path / "merged.safetensors")]) == 2
    assert "--save_t5xxl: the model has no T5-XXL (give --t5xxl FILE)" in capsys.readouterr().err


def test_standard_sizes_need_no_base_model(tmp_path: Path) -> None:
    rank, key, text = (
        2,
        "lora_unet_joint_blocks_23_context_block_attn_qkv",
        "lora_te2_text_model_encoder_layers_31_mlp_fc1",
    )
    shapes = {key: (1536, 3 * 1536), text: (1280, 5120)}
    tensors: dict[str, Tensor] = {}
    for name, (inputs, outputs) in shapes.items():
        tensors |= {
            f"{name}.lora_down.weight": torch.rand(rank, inputs),
            f"{name}.lora_up.weight": torch.rand(outputs, rank),
        }
    save_file(tensors, tmp_path / "lora.safetensors")
    found = convert(tmp_path / "lora.safetensors", tmp_path / "peft.safetensors", None)
    layers = {name.rpartition(".lora_")[0] for name in found}
    assert layers == {
        *(f"transformer.transformer_blocks.23.attn.add_{kind}_proj" for kind in "qkv"),
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc1",
    }


def test_a_transformer_alone_is_merged_without_a_vae(bare: Path, folder: Path, tmp_path: Path) -> None:
    lora = random_lora(tmp_path / "lora.safetensors", folder, "--network_train_unet_only")
    path = tmp_path / "merged.safetensors"
    words = ("--pretrained_model_name_or_path", str(bare), "--models", str(lora), "--save_to", str(path))
    assert run(["merge", "--arch", "sd3", *words]) == 0
    prefix = "model.diffusion_model."
    assert {name.removeprefix(prefix) for name in load_file(path)} == set(load_file(bare))
    original = "https://github.com/Stability-AI/sd3-ref"
    assert read_header(path).metadata["modelspec.implementation"] == original


def keys_of(data: Path, kind: str) -> Rows:
    """Return names and shapes of a default LoRA on a kind of model."""
    if kind == "sd3.5-large":  # the golden lists have none
        return written(transformer(kind))
    return rows(golden_keys(data, kind, "default"))


def zeros(path: Path, listed: Rows, version: str | None = None) -> Path:
    tensors = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in listed}
    save_file(tensors, path, None if version is None else {"ss_base_model_version": version})
    return path


@pytest.mark.parametrize("kind", ["sd3-medium", "sd3.5-medium", "sd3.5-large"])
def test_files_of_every_kind_need_no_base_model(data: Path, kind: str, tmp_path: Path) -> None:
    listed = keys_of(data, kind)
    there = tmp_path / "there.safetensors"
    found = convert(zeros(tmp_path / "lora.safetensors", listed), there, None)
    version = kind.partition("-")[2] if kind == "sd3-medium" else kind.removeprefix("sd3.")
    assert read_header(there).metadata["ss_base_model_version"] == version
    save_file(found, there)  # the names alone must tell the kind on the way back
    back = convert(there, tmp_path / "back.safetensors", None)
    assert {name: list(one.shape) for name, one in back.items()} == dict(listed)
    assert read_header(tmp_path / "back.safetensors").metadata["ss_base_model_version"] == version


@pytest.mark.parametrize(
    ("part", "version", "told"),
    [
        ("joint_blocks_0_x_block_adaLN", None, "5-medium"),
        ("joint_blocks_0_x_block_attn2", None, "5-medium"),
        ("joint_blocks_23_x_block_attn_", None, "medium"),
        ("joint_blocks_23_x_block_attn_", "sd3", "sd3"),
        ("joint_blocks_23_x_block_attn_", "5-medium", "5-medium"),
    ],
)
def test_the_kind_is_told_by_layers_of_its_own_or_by_the_header(
    data: Path, part: str, version: str | None, told: str, tmp_path: Path
) -> None:
    listed = [row for row in keys_of(data, "sd3.5-medium") if part in row[0]]
    convert(zeros(tmp_path / "lora.safetensors", listed, version), tmp_path / "there.safetensors", None)
    found = read_header(tmp_path / "there.safetensors").metadata
    kind = "5-medium" if told == "5-medium" else "medium"
    assert found["ss_base_model_version"] == told
    assert found["modelspec.architecture"] == f"stable-diffusion-3-{kind}/lora"
