from __future__ import annotations

from pathlib import Path

import pytest

from tests.measured_memory import measured_training

UNET = "--network_train_unet_only"
SLOW = (
    (UNET, "--train_batch_size", "2"),
    (UNET, "--gradient_checkpointing"),
    ("--text_encoder_lr", "1e-4", "--gradient_checkpointing"),
    (UNET, "--fp8_base_unet", "--optimizer_type", "AdamW8bit"),
)


@pytest.mark.parametrize(
    "words",
    [
        (UNET, "--train_batch_size", "2", "--checkpointed_blocks", *map(str, range(0, 34, 2))),
        (UNET, "--blocks_to_swap", "20", "--gradient_checkpointing"),
        *(pytest.param(words, marks=pytest.mark.slow) for words in SLOW),
    ],
)
def test_the_count_is_near_what_a_run_takes(folder: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    found = measured_training("sdxl", folder, tmp_path, *words)
    assert found.ratio == pytest.approx(1, abs=0.08), found


def test_what_memory_auto_chooses_keeps_the_steps_inside_the_budget(folder: Path, tmp_path: Path) -> None:
    found = measured_training("sdxl", folder, tmp_path, UNET, "--memory", "auto", "--memory_budget", "0.008")
    assert 0 < len(found.counted.treatment.checkpointed) < 34
    assert found.measured <= 0.008e9 * 1.08
