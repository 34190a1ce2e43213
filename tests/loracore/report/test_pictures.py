from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from loracore.report.pictures import picture_url, preview_grid, spread
from tests.loracore.report.told_runs import preview


def test_a_large_picture_is_made_small(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000)).save(tmp_path / "large.png")
    found = picture_url(tmp_path / "large.png")
    assert found is not None
    url, size = found
    assert size == (384, 192)
    with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        assert image.size == size


def test_a_file_that_is_no_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    assert picture_url(tmp_path / "x.png") is None
    assert picture_url(tmp_path / "gone.png") is None


def test_previews_of_a_moved_output_folder_are_found_beside_the_events(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "sample" / "a.png")
    grid = preview_grid([preview(1, 0, Path("/elsewhere/sample/a.png"))], tmp_path / "fish-log")
    assert "data:image/jpeg" in grid


def test_the_first_and_the_last_step_are_shown() -> None:
    assert spread(range(1, 101), 16)[0] == 1
    assert spread(range(1, 101), 16)[-1] == 100
    assert len(set(spread(range(1, 101), 16))) == 16
