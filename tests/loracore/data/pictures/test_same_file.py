from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loracore.data.pictures.same_file import real_paths


def test_all_ways_of_writing_a_folder_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    real = real_paths()
    assert len({real(path) for path in ("a.png", "./a.png", "b/../a.png", str(tmp_path / "a.png"))}) == 1
    assert real("a.png") != real("b/a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own")
def test_links_are_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "link").symlink_to(tmp_path)
    real = real_paths()
    assert len({real(tmp_path / name) for name in ("a.png", "b.png", "link/a.png", "link/b.png")}) == 1
