from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loracore.config.dataset_spec import DatasetSpec, SubsetSpec

Golden = dict[str, Any]
Subset = Callable[..., SubsetSpec]
Dataset = Callable[..., DatasetSpec]
Paint = Callable[..., Path]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """What the field's data code answers, recorded."""
    path = Path(__file__).parents[2] / "data" / "dataset.json"
    found: Golden = json.loads(path.read_text("utf-8"))
    return found


@pytest.fixture
def subset(tmp_path: Path) -> Subset:
    def build(image_dir: Path = tmp_path, **values: Any) -> SubsetSpec:
        plain = {"num_repeats": 1, "caption_extension": ".txt", "place": "data.toml:5"}
        return SubsetSpec(image_dir, **{**plain, **values})

    return build


@pytest.fixture
def dataset() -> Dataset:
    def build(*subsets: SubsetSpec, **values: Any) -> DatasetSpec:
        plain = {
            "resolution": (64, 64),
            "batch_size": 1,
            "enable_bucket": False,
            "min_bucket_reso": 256,
            "max_bucket_reso": 1024,
            "bucket_reso_steps": 64,
            "bucket_no_upscale": False,
        }
        return DatasetSpec(subsets=subsets, **{**plain, **values})

    return build


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write a picture of one colour into the test's folder."""

    def write(name: str, size: tuple[int, int] = (64, 64), colour: Any = (200, 40, 90), mode: str = "RGB") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, size, colour).save(path)
        return path

    return write
