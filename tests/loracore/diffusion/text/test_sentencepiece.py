from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.diffusion.text.sentencepiece import read_unigram


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def piece(text: str, score: float, kind: int = 1) -> bytes:
    return message(
        1, message(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + varint(3 << 3) + varint(kind)
    )


def trainer(vocabulary: int) -> bytes:
    return message(2, varint(4 << 3) + varint(vocabulary))


def normalizer(character_map: bytes) -> bytes:
    return message(3, message(1, b"nmt_nfkc") + message(2, character_map) + varint(3 << 3) + varint(1))


@given(st.lists(st.tuples(st.text(), st.floats(-100, 0, width=32)), min_size=1), st.binary(), st.integers(0, 10**9))
def test_pieces_come_back_as_they_were_written(pieces: list[tuple[str, float]], characters: bytes, size: int) -> None:
    data = b"".join([*(piece(*one) for one in pieces), trainer(size), normalizer(characters)])
    found = read_unigram(data)
    assert (found.pieces, found.character_map) == (tuple(pieces), characters)


def test_unknown_piece_is_known_by_its_kind() -> None:
    data = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) + piece("a", -1)
    assert read_unigram(data).unknown_id == 2


@pytest.mark.parametrize("cut", range(1, 12))
def test_file_that_ends_too_early_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"ends too early|no pieces"):
        read_unigram(piece("word", -1)[:-cut])


def test_what_is_no_such_file_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        read_unigram(b"\x0fversion https://git-lfs")
