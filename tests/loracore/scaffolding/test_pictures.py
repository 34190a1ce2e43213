from __future__ import annotations

from pathlib import Path

from PIL import Image

from loracore.scaffolding.pictures import draw_pictures


def test_six_different_pictures_have_captions(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "toy")
    pictures = sorted((tmp_path / "toy").glob("*.png"))
    opened = [Image.open(path) for path in pictures]
    assert {picture.size for picture in opened} == {(64, 64)}
    assert len({picture.tobytes() for picture in opened}) == 6
    assert len({path.with_suffix(".txt").read_text("utf-8") for path in pictures}) == 6
