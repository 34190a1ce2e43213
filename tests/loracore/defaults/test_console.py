from __future__ import annotations

import pytest

from tests.toy_runs import TrainToy


def test_the_header_says_what_spares_memory(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--gradient_checkpointing", "--cpu_offload_checkpointing", "--fp8_base_unet", "--max_train_steps", "1")
    said = capsys.readouterr()
    line = "memory       activations computed again, inputs kept on the host, denoiser stored in fp8"
    assert line in said.out + said.err


def test_the_header_is_silent_on_memory_when_nothing_spares_it(
    train_toy: TrainToy, capsys: pytest.CaptureFixture[str]
) -> None:
    train_toy("--max_train_steps", "1")
    said = capsys.readouterr()
    assert "memory  " not in said.out + said.err
