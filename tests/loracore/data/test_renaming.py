from __future__ import annotations

from pathlib import Path

import pytest

from loracore.data import renaming
from loracore.data.renaming import rename


@pytest.mark.parametrize(("refusals", "succeeds"), [(0, True), (2, True), (3, False)])
def test_a_file_that_is_looked_at_for_a_moment_is_renamed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, succeeds: bool
) -> None:
    left, replace = [None] * refusals, Path.replace

    def held(source: Path, target: Path) -> Path:
        if left:
            left.pop()
            raise PermissionError
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr(renaming, "_PAUSE", 0)
    (tmp_path / "new").write_text("new", encoding="utf-8")
    (tmp_path / "old").write_text("old", encoding="utf-8")
    if succeeds:
        rename(tmp_path / "new", tmp_path / "old")
    else:
        with pytest.raises(PermissionError):
            rename(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text(encoding="utf-8") == ("new" if succeeds else "old")
