"""No step of this architecture makes the host wait for the card, whatever noise and loss are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train
from tests.host_waits import assert_nobody_waits
from tests.plugins.sdxl import tiny

NOISE = (
    *("--noise_offset", "0.1", "--noise_offset_random_strength", "--adaptive_noise_scale", "0.1"),
    *("--multires_noise_iterations", "6", "--ip_noise_gamma", "0.1", "--ip_noise_gamma_random_strength"),
)
LOSS = ("--loss_type", "huber", "--min_snr_gamma", "5", "--v_parameterization", "--zero_terminal_snr")


@pytest.mark.parametrize("words", [(*NOISE, "--network_train_unet_only"), (*LOSS, "--gradient_checkpointing")])
def test_no_step_waits(tmp_path: Path, words: tuple[str, ...]) -> None:
    model, pictures = tmp_path / "model", tmp_path / "pictures"
    tiny.write_folder(model)
    pictures.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (60 * number, 0, 0)).save(pictures / f"{number}.png")

    def run(*more: str, plugin: object) -> None:
        request = read_request(
            [
                *("--arch", "sdxl", "--pretrained_model_name_or_path", str(model), "--output_dir", str(tmp_path / "o")),
                *("--train_data_dir", str(pictures), "--resolution", "64", "--train_batch_size", "2"),
                *("--max_train_steps", "2", "--network_dim", "2", "--cache_dir", str(tmp_path / "cache"), *more),
            ]
        )
        request.plugins.register(plugin, name="extension watched")
        train(request.config, request.plugins, read_datasets(request.config, request.document))

    assert_nobody_waits(run, *words)
