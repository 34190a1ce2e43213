from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from loracore.training.results.final_file import free_path, tried_until


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.b.safetensors"
    assert free_path(path) == path
    path.touch()
    (tmp_path / "a.b-2.safetensors").touch()
    assert free_path(path) == tmp_path / "a.b-3.safetensors"


def test_it_is_tried_until_it_works() -> None:
    left = [False, False, True]
    assert tried_until(lambda: left.pop(0), 0.0)
    assert left == []


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends processes there")
def test_an_interrupt_gives_up() -> None:
    def interrupted() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    assert not tried_until(interrupted, 0.0)
