from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.dataset_spec import SubsetSpec
from loracore.data.pictures.picture import Picture
from loracore.types import Framing

FRAMING = Framing((64, 64), (64, 64), (0, 0), (64, 64))


@pytest.mark.parametrize(
    ("folder", "path", "name"),
    [
        ("pics", "pics/a.png", "a.png"),
        (".", "a.png", "a.png"),
        ("/data/pics", "/data/pics/deep/a.png", "deep/a.png"),
        ("pics", "/elsewhere/a.png", "/elsewhere/a.png"),  # of a list
        (None, "/elsewhere/a.png", "/elsewhere/a.png"),
    ],
)
def test_a_name_is_the_path_inside_the_subsets_folder(folder: str | None, path: str, name: str) -> None:
    subset = SubsetSpec(None if folder is None else Path(folder), 1, "here")
    assert Picture(0, Path(path), "", FRAMING, 0, subset).name == name
