from __future__ import annotations

from pathlib import Path

import pytest

from loracore.data.store.maps import ShardMaps


def test_bytes_are_read_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert bytes(ShardMaps(tmp_path).view("a", 2, 5)) == b"234"


def test_a_file_that_grew_is_mapped_anew(tmp_path: Path) -> None:
    maps = ShardMaps(tmp_path)
    (tmp_path / "a").write_bytes(b"01")
    early = maps.view("a", 0, 2)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"23")
    assert (bytes(maps.view("a", 1, 4)), bytes(early)) == (b"123", b"01")


@pytest.mark.parametrize("held", [b"", b"01"])
def test_a_file_that_ends_early_is_a_value_error(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "a").write_bytes(held)
    with pytest.raises(ValueError, match=r"ends before|empty"):
        ShardMaps(tmp_path).view("a", 0, 3)


def test_only_some_files_are_open_at_once(tmp_path: Path) -> None:
    maps = ShardMaps(tmp_path)
    for number in range(200):
        (tmp_path / str(number)).write_bytes(str(number).encode())
        assert bytes(maps.view(str(number), 0, 1)) == str(number)[:1].encode()
    assert len(maps._maps) == 128


def test_views_outlive_the_maps(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123")
    maps = ShardMaps(tmp_path)
    found = maps.view("a", 0, 4)
    maps.clear()
    assert bytes(found) == b"0123"
