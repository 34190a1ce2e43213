from __future__ import annotations

from pathlib import Path

import pytest

from loracore import ConfigError
from loracore.config.utf8_file import utf8_text


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"\xef\xbb\xbfein K\xc3\xa4se")
    assert utf8_text(path) == "ein Käse"


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"a fish\na K\xe4se")
    with pytest.raises(ConfigError, match=r"prompts\.txt:2: this is not UTF-8 text"):
        utf8_text(path)


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        utf8_text(tmp_path)
