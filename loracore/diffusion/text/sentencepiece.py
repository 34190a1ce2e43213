"""SentencePiece files of unigram tokenizers, read without the library of that name."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: Kinds of values in protocol buffers: https://protobuf.dev/programming-guides/encoding
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
#: Fields of ModelProto, SentencePiece and NormalizerSpec in sentencepiece_model.proto.
_PIECES, _NORMALIZER = 1, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_CHARACTER_MAP = 2
_UNKNOWN = 2  # a piece's kind


@dataclass(frozen=True, eq=False, slots=True)
class UnigramFile:
    """What a SentencePiece file says of a unigram tokenizer."""

    pieces: tuple[tuple[str, float], ...]  # text and log-probability, in the order of their ids
    unknown_id: int
    character_map: bytes  # how characters are replaced first; empty: not at all


def read_unigram(data: bytes) -> UnigramFile:
    """Return what a SentencePiece file holds; raises ValueError when it is damaged or holds no pieces."""
    pieces: list[tuple[str, float]] = []
    unknown, character_map = 0, b""
    for number, value in _fields(data):
        if number == _PIECES and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score = piece.get(_TEXT, b""), piece.get(_SCORE, 0.0)
            if not isinstance(text, bytes) or not isinstance(score, float):
                raise ValueError(number)
            unknown = len(pieces) if piece.get(_KIND) == _UNKNOWN else unknown
            pieces.append((text.decode("utf-8"), score))
        elif number == _NORMALIZER and isinstance(value, bytes):
            found = dict(_fields(value)).get(_CHARACTER_MAP, b"")
            character_map = found if isinstance(found, bytes) else b""
    if not pieces:
        message = "there are no pieces in it"
        raise ValueError(message)
    return UnigramFile(tuple(pieces), unknown, character_map)


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Give the fields of a message: number and value."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        if kind not in {_EIGHT_BYTES, _LENGTH, _FOUR_BYTES}:
            message = f"field of an unknown kind at byte {place}"
            raise ValueError(message)
        size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)
        if size is None:
            size, place = _varint(data, place)
        content, place = data[place : place + size], place + size
        if len(content) < size:
            message = "the file ends too early"
            raise ValueError(message)
        yield tag >> 3, struct.unpack("<f", content)[0] if kind == _FOUR_BYTES else content


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return an integer in groups of seven bits, the lowest first, and the place behind it."""
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 1 << 7:
            return value, place
    message = "the file ends too early"
    raise ValueError(message)
