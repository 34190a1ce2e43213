from __future__ import annotations

import mmap

import torch

from loracore.training.telling.memory_use import MemoryUse


def test_memory_that_a_run_takes_is_told_again_and_again() -> None:
    use = MemoryUse(torch.device("cpu"))
    before = use.gigabytes()
    size = 200_000_000
    with mmap.mmap(-1, size) as held:
        held.write(b"x" * size)
        grown = use.gigabytes()
    assert before > 0.01  # this process has torch in it
    assert 0.15 < grown - before < 0.6
    assert use.gigabytes() < grown
