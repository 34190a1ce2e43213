from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loracore.data.store.entries import ALIGNMENT, Entry, StoredTensor, decode, encode, parse_layout

if TYPE_CHECKING:
    from tests.loracore.data.store.conftest import MakeEntry


def whole(entry: Entry, check: int = 7) -> memoryview:
    return memoryview(b"".join(encode(entry).chunks(check)))


def test_an_entry_comes_back_with_its_names_dtypes_and_shapes() -> None:
    entry = {
        "mean": StoredTensor("BF16", (2, 3), memoryview(bytes(range(12)))),
        "größe": StoredTensor("I64", (), memoryview(bytes(range(8)))),
        "none": StoredTensor("F32", (0, 4), memoryview(b"")),
    }
    assert decode(whole(entry), 7, parse_layout) == entry


def test_an_entry_without_tensors_is_an_entry() -> None:
    assert decode(whole({}), 7, parse_layout) == {}


def test_tensors_begin_aligned(entry: MakeEntry) -> None:
    layout = parse_layout(encode({**entry(1, 5), "b": entry(2, 70)["mean"], "c": entry(3)["mean"]}).layout)
    assert [field.start % ALIGNMENT for field in layout.fields] == [0, 0, 0]
    assert [field.stop - field.start for field in layout.fields] == [5, 70, 100]


def test_the_length_is_known_before_the_bytes_are_joined(entry: MakeEntry) -> None:
    assert encode(entry(1)).length == len(whole(entry(1)))


def test_another_check_is_another_entry(entry: MakeEntry) -> None:
    with pytest.raises(ValueError, match="another entry"):
        decode(whole(entry(1), check=8), 7, parse_layout)


def test_an_entry_that_ends_early_is_damaged(entry: MakeEntry) -> None:
    data = whole(entry(1))
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            decode(data[:length], 7, parse_layout)


@pytest.mark.parametrize(
    "header",
    [b"", b"\xff", b"5", b"[5]", b'[["a","F32"]]', b'[["a","X9",[1]]]', b'[["a",[],[1]]]', b'[["a","U8",[-1]]]'],
)
def test_a_layout_that_does_not_parse_is_a_value_error(header: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_layout(header)


def test_bytes_that_do_not_fit_the_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mean: 11 bytes do not fit F32 \(3,\)"):
        encode({"mean": StoredTensor("F32", (3,), memoryview(bytes(11)))})


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="no tensor that can be stored: F12"):
        encode({"mean": StoredTensor("F12", (3,), memoryview(bytes(12)))})
