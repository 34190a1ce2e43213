from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


_FILES = """
import resource, sys
from pathlib import Path
from loracore.data.store.maps import ShardMaps
def grant(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
def read(maps):
    for number in range(300):
        assert bytes(maps.view(str(number), 0, 1)) == str(number)[:1].encode()
    return len(maps._maps)
folder = Path(sys.argv[1])
for number in range(300):
    (folder / str(number)).write_bytes(str(number).encode())
"""


def in_process(code: str, folder: Path) -> str:
    found = subprocess.run(
        [sys.executable, "-c", _FILES + code, str(folder)], capture_output=True, text=True, check=True
    )
    return found.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows grants enough")
def test_half_of_the_files_that_the_system_grants_are_open_at_once(tmp_path: Path) -> None:
    assert in_process("grant(100); print(read(ShardMaps(folder)))", tmp_path) == "50\n"
    assert in_process("grant(1024); print(read(ShardMaps(folder)))", tmp_path) == "300\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows grants enough")
def test_a_system_that_refuses_another_file_is_asked_for_fewer(tmp_path: Path) -> None:
    assert 0 < int(in_process("maps = ShardMaps(folder); grant(100); print(read(maps))", tmp_path)) < 50


def test_threads_read_more_files_than_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.data.store.maps._MOST", 2)
    for number in range(8):
        (tmp_path / str(number)).write_bytes(str(number).encode())
    maps, asked = ShardMaps(tmp_path), [str(at % 8) for at in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: bytes(maps.view(name, 0, 1)).decode(), asked)) == asked


def test_views_outlive_the_maps(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123")
    maps = ShardMaps(tmp_path)
    found = maps.view("a", 0, 4)
    maps.clear()
    assert bytes(found) == b"0123"
