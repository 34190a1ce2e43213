from __future__ import annotations

from pathlib import Path

from PIL import Image

from loracore.testing import write_pictures


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.width, picture.height


def test_pictures_stand_beside_their_captions_in_turn_of_the_sizes(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "new" / "folder", count=3, sizes=((40, 32), (32, 48)))
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "0.txt", "1.png", "1.txt", "2.png", "2.txt"]
    assert [size(folder / f"{number}.png") for number in range(3)] == [(40, 32), (32, 48), (40, 32)]
    assert (folder / "2.txt").read_text(encoding="utf-8") == "picture number 2"


def test_the_same_count_gives_the_same_pictures_and_no_two_alike(tmp_path: Path) -> None:
    one, other = (write_pictures(tmp_path / name) for name in ("one", "other"))
    contents = [(one / f"{number}.png").read_bytes() for number in range(6)]
    assert contents == [(other / f"{number}.png").read_bytes() for number in range(6)]
    assert len(set(contents)) == 6
