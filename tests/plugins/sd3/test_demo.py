"""The demo must teach the tiny model its concept, and leave it what it knew."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import RunCli
from tests.plugins.fish_demo import has_learnt, ran_demo


@pytest.mark.slow  # SDXL's demo runs always
@pytest.mark.timeout(900)
def test_the_demo_learns_its_concept_and_forgets_nothing(cli: RunCli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    before, after = ran_demo(cli, "sd3", out)
    assert has_learnt(before, after), (before, after)
    assert len(load_file(out / "sks-fish.safetensors")) == 3 * 45  # four blocks, q, k and v as one, and the embedders
