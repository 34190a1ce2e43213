"""The guide's own command asks for what cannot be, is told how to mend it, and then trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from tests.conftest import RunCli

#: As the guide has it; the run is short.
SAMPLE = """
 --output_name=my_sdxl_lora --save_model_as=safetensors --network_module=networks.lora --network_dim=32
 --network_alpha=16 --learning_rate=1e-4 --unet_lr=1e-4 --text_encoder_lr1=1e-5 --text_encoder_lr2=1e-5
 --optimizer_type=AdamW8bit --lr_scheduler=constant --max_train_epochs=1 --save_every_n_epochs=1
 --mixed_precision=bf16 --gradient_checkpointing --cache_text_encoder_outputs --cache_latents
""".split()  # noqa: SIM905  # one option a word, as people type them


@pytest.fixture
def command(folder: Path, pictures: Path, tmp_path: Path) -> list[str]:
    data = tmp_path / "my_sdxl_dataset_config.toml"
    subset = f"[[datasets.subsets]]\nimage_dir = {str(pictures)!r}\ncaption_extension = '.txt'\n"
    data.write_text(f"[[datasets]]\nresolution = 64\nbatch_size = 4\n{subset}", encoding="utf-8")
    files = [
        f"--pretrained_model_name_or_path={folder}",
        f"--dataset_config={data}",
        f"--output_dir={tmp_path / 'out'}",
    ]
    return ["train", "--arch", "sdxl", *files, *SAMPLE]


@pytest.mark.timeout(300)
def test_captions_cached_while_text_encoders_train_are_refused_with_the_cure(command: list[str], cli: RunCli) -> None:
    done = cli(*command)
    assert done.returncode == 2, done.stderr
    assert "--cache_text_encoder_outputs: cached text-encoder outputs would be stale" in done.stderr
    assert "--network_train_unet_only" in done.stderr
    assert "captions:" not in done.stderr


@pytest.mark.timeout(300)
def test_the_mended_command_trains(command: list[str], cli: RunCli, tmp_path: Path) -> None:
    done = cli(*command, "--network_train_unet_only")
    assert done.returncode == 0, done.stderr
    assert "text_encoder_lr1 has no effect: network_train_unet_only trains no text encoder" in done.stderr
    assert (tmp_path / "out" / "my_sdxl_lora.safetensors").is_file()


@pytest.mark.timeout(300)
def test_rates_of_zero_mend_it_too_and_a_vae_is_told(
    command: list[str], cli: RunCli, folder: Path, tmp_path: Path
) -> None:
    others = [word for word in command if not word.startswith("--text_encoder_lr")]
    rates, vae = ("--text_encoder_lr1=0", "--text_encoder_lr2=0"), f"--vae={folder / 'vae'}"
    done = cli(*others, *rates, vae)
    assert done.returncode == 0, done.stderr
    assert "textencoder 1, textencoder 2: learning rate 0, kept as they start" in done.stderr + done.stdout
    assert "VAE is given twice" in done.stderr
    with safe_open(tmp_path / "out" / "my_sdxl_lora.safetensors", "pt") as file:
        assert file.metadata()["ss_vae_name"] == "vae"
        ups = {name: file.get_tensor(name) for name in file.keys() if "lora_up" in name}  # noqa: SIM118  # no mapping
    assert {name.split("_")[1] for name, tensor in ups.items() if tensor.any()} == {"unet"}
    assert {name.split("_")[1] for name in ups} == {"te1", "te2", "unet"}
