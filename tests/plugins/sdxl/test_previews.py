"""Previews of a run are what its file draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loracore import Drawing
from tests.plugins.previews import previewed

PROMPTS = "a cat --w 64 --h 64 --s 3 --d 5 --n blurry\na dog --w 72 --h 64 --s 2 --d 6 --ss euler_a --l 3\n"
SPARING = ("--gradient_checkpointing", "--network_dropout", "0.3")

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore::FutureWarning")]


def test_the_saved_file_draws_what_the_run_drew(folder: Path, pictures: Path, tmp_path: Path) -> None:
    found = previewed("sdxl", folder, pictures, tmp_path, PROMPTS, "--network_train_unet_only", *SPARING)
    assert [(event.kind, event.step) for event in found.events] == [("preview", step) for step in (0, 0, 2, 2)]
    first = found.loaded_back("a cat", Drawing((64, 64), 3, 7.5, "ddim"), 5, "blurry")
    second = found.loaded_back("a dog", Drawing((72, 64), 2, 3.0, "euler_a"), 6)
    assert np.abs(found.live(2) - first).max() <= 1  # of 255: rounding to bytes
    assert np.abs(found.live(3) - second).max() <= 1
    assert np.abs(found.live(0) - found.live(2)).max() > 2  # the network has learnt


def test_text_encoders_that_train_are_in_the_previews_too(folder: Path, pictures: Path, tmp_path: Path) -> None:
    found = previewed("sdxl", folder, pictures, tmp_path, PROMPTS)
    assert found.messages == []
    first = found.loaded_back("a cat", Drawing((64, 64), 3, 7.5, "ddim"), 5, "blurry")
    assert np.abs(found.live(2) - first).max() <= 1
