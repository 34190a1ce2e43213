"""Previews of a run are what its file draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loracore import Drawing
from loracore.cli.request import Request, read_request
from tests.plugins.previews import previewed

PROMPTS = "a cat --w 64 --h 64 --s 3 --d 5 --n blurry\na dog --w 88 --h 64 --s 2 --d 6 --fs 1.5\n"


@pytest.mark.timeout(300)
def test_the_saved_file_draws_what_the_run_drew(folder: Path, pictures: Path, tmp_path: Path) -> None:
    found = previewed("sd3", folder, pictures, tmp_path, PROMPTS, "--network_train_unet_only")
    assert [(event.kind, event.step) for event in found.events] == [("preview", step) for step in (0, 0, 2, 2)]
    first = found.loaded_back("a cat", Drawing((64, 64), 3, 7.5), 5, "blurry")
    shifted, plain = (found.loaded_back("a dog", Drawing((80, 64), 2, 7.5, None, shift), 6) for shift in (1.5, None))
    assert np.abs(found.live(2) - first).max() <= 1  # of 255: rounding to bytes
    assert np.abs(found.live(3) - shifted).max() <= 1
    assert not np.array_equal(shifted, plain)


def request_of(folder: Path, path: Path, prompts: str) -> Request:
    path.write_text(prompts, encoding="utf-8")
    words = ["--arch", "sd3", "--pretrained_model_name_or_path", str(folder), "--sample_prompts", str(path)]
    return read_request([*words, "--sample_at_first", "--sample_sampler", "ddim"])


def test_samplers_are_said_to_be_idle(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    notes = "\n".join(request_of(folder, path, "a cat --ss euler_a\n").notes)
    assert "sample_sampler has no effect: this model is always sampled by Euler's method" in notes
    assert f"{path}:1: the sampler euler_a has no effect" in notes


def test_sizes_between_patches_become_smaller_and_are_told(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    notes = "\n".join(request_of(folder, path, "a cat\na dog --w 520\n").notes)
    assert f"{path}:2: the preview's 520x512 becomes 512x512: this model draws in multiples of 16 pixels" in notes
    assert f"{path}:1: the preview" not in notes
