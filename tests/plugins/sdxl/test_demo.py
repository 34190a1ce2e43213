"""The demo must teach the tiny model its concept, and leave it what it knew; a broken gradient must show."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import RunCli
from tests.plugins.fish_demo import assert_a_cut_gradient_shows, has_learnt, ran_demo


@pytest.mark.timeout(900)
def test_the_demo_learns_its_concept_and_forgets_nothing(cli: RunCli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    before, after = ran_demo(cli, "sdxl", out)
    assert has_learnt(before, after), (before, after)
    assert len(load_file(out / "sks-fish.safetensors")) == 3 * 198  # every layer that conv_dim admits


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cut_gradient_is_not_taken_for_learning(tmp_path: Path) -> None:
    assert_a_cut_gradient_shows("sdxl", tmp_path)
