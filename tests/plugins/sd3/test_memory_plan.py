from __future__ import annotations

from pathlib import Path

import pytest

from tests.measured_memory import measured_training
from tests.plugins.sd3 import tiny

UNET = "--network_train_unet_only"


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("5-medium", (UNET, "--train_batch_size", "2")),
        pytest.param("5-large", (UNET, "--gradient_checkpointing"), marks=pytest.mark.slow),
        pytest.param("medium", (UNET, "--checkpointed_blocks", "0", "2"), marks=pytest.mark.slow),
        pytest.param("medium", (UNET, "--blocks_to_swap", "1"), marks=pytest.mark.slow),
    ],
)
def test_the_count_is_near_what_a_run_takes(tmp_path: Path, style: str, words: tuple[str, ...]) -> None:
    model = tiny.write_folder(tmp_path / "model", style=style)
    found = measured_training("sd3", model, tmp_path, *words)
    assert found.ratio == pytest.approx(1, abs=0.08), found
