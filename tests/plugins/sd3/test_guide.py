"""The guide's own command trains every kind of model from every layout of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train
from tests.conftest import RunCli
from tests.plugins.sd3 import tiny

#: As the guide has it; the swap count is one that a tiny model of three blocks allows, and the run is short.
COMMAND = """
  --output_name=my_sd3_lora --save_model_as=safetensors
  --network_module=networks.lora --network_dim=16 --network_alpha=1
  --learning_rate=1e-4 --optimizer_type=AdamW8bit --lr_scheduler=constant
  --sdpa
  --max_train_epochs=2 --save_every_n_epochs=1
  --mixed_precision=fp16 --gradient_checkpointing
  --weighting_scheme=sigma_sqrt
  --blocks_to_swap=1
""".split()  # noqa: SIM905  # one option a word, as people type them

LAYOUTS = ("folder", "file", "separate")


def model_flags(layout: str, style: str, home: Path) -> list[str]:
    """Write a model and return the flags that name it."""
    if layout == "folder":
        return [f"--pretrained_model_name_or_path={tiny.write_folder(home / 'tiny', style=style)}"]
    if layout == "file":
        path = tiny.write_checkpoint(home / "tiny.safetensors", style=style)
        return [f"--pretrained_model_name_or_path={path}"]
    path = tiny.write_checkpoint(home / "tiny.safetensors", style=style, inside=("unet", "vae"))
    files = tiny.write_separate(home / "parts")
    named = [f"--{option}={files[option]}" for option in ("clip_l", "clip_g", "t5xxl")]
    return [f"--pretrained_model_name_or_path={path}", *named]


@pytest.fixture
def dataset(pictures: Path, tmp_path: Path) -> Path:
    path = tmp_path / "my_sd3_dataset_config.toml"
    subset = f'[[datasets.subsets]]\nimage_dir = "{pictures.as_posix()}"\ncaption_extension = ".txt"\n'
    path.write_text(f"[[datasets]]\nresolution = 64\nbatch_size = 2\n{subset}", encoding="utf-8")
    return path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("style", tiny.STYLES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_guides_command_trains(layout: str, style: str, dataset: Path, tmp_path: Path) -> None:
    given = [*model_flags(layout, style, tmp_path), f"--dataset_config={dataset}", f"--output_dir={tmp_path / 'out'}"]
    request = read_request(["--arch", "sd3", *given, *COMMAND])
    datasets = read_datasets(request.config, request.document)
    path = train(request.config, request.plugins, datasets, request.notes)
    assert path is not None
    tensors = load_file(path)
    moved = {name.split("_")[1] for name, tensor in tensors.items() if name.endswith("lora_up.weight") and tensor.any()}
    assert moved == {"te1", "te2", "unet"}
    with safe_open(path, "pt") as file:
        assert file.metadata()["ss_base_model_version"] == style


def test_the_command_works_as_a_process(cli: RunCli, dataset: Path, tmp_path: Path) -> None:
    given = [*model_flags("file", "5-medium", tmp_path), f"--dataset_config={dataset}", f"--output_dir={tmp_path}"]
    done = cli("train", "--arch", "sd3", *given, *COMMAND)
    assert done.returncode == 0, done.stderr
    saved = {path.name for path in tmp_path.glob("*.safetensors")}
    assert saved == {"tiny.safetensors", "my_sd3_lora-000001.safetensors", "my_sd3_lora.safetensors"}


def test_options_do_in_a_file_what_they_do_as_flags(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.write_checkpoint(tmp_path / "tiny.safetensors", style="5-medium")
    config = tmp_path / "run.toml"
    args = ["context_attn_dim=2", "x_mlp_dim=0", "emb_dims=[2,3,4,5,6,7]", "train_block_indices=0-1", "verbose=True"]
    config.write_text(
        f"""
        arch = "sd3"
        pretrained_model_name_or_path = "{path.as_posix()}"
        dataset_config = "{dataset.as_posix()}"
        output_dir = "{(tmp_path / "out").as_posix()}"
        network_args = {json.dumps(args)}
        network_train_unet_only = true
        max_train_steps = 1
        """,
        encoding="utf-8",
    )
    request = read_request([str(config)])
    file = train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    assert file is not None
    tensors = load_file(file)
    ranks = {name.removesuffix(".lora_down.weight"): len(t) for name, t in tensors.items() if "lora_down" in name}
    assert ranks["lora_unet_joint_blocks_0_context_block_attn_qkv"] == 2
    assert ranks["lora_unet_x_embedder_proj"] == 4
    assert not any("blocks_2_" in key or "x_block_mlp" in key for key in ranks)
    said = capsys.readouterr()
    assert "lora_unet_x_embedder_proj: rank 4" in said.out + said.err  # verbose
