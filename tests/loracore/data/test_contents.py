from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from loracore import DataError
from loracore.data.contents import changed_picture, content_digests, with_contents
from loracore.data.index import Index
from loracore.data.proving import prove
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.data.tables.picture_table import DIGEST
from tests.loracore.data.conftest import Dataset, Paint, Subset

Scan = Callable[..., Index]


@pytest.fixture
def index(subset: Subset, dataset: Dataset, paint: Paint, tmp_path: Path) -> Index:
    """Return two pictures with masks, twice: in two data sets."""
    for name, colour in (("pics/a.png", 1), ("pics/b.png", 2), ("masks/a.png", 3), ("masks/b.png", 3)):
        old = paint(name, colour=(colour, 0, 0))
        os.utime(old, (1e9, 1e9))
    both = subset(tmp_path / "pics", conditioning_data_dir=tmp_path / "masks")
    sets = [dataset(both), dataset(both, resolution=(32, 32))]
    return scan(sets, Reading(keep=tmp_path / "tables")).training


def digest(path: Path) -> bytes:
    return blake2b(path.read_bytes(), digest_size=DIGEST).digest()


def test_digests_stand_for_the_bytes_of_pictures_and_masks(index: Index, tmp_path: Path) -> None:
    own, masks = content_digests(with_contents(index, None))
    expected = [digest(tmp_path / "pics" / name) for name in ("a.png", "b.png")]
    assert [one.tobytes() for one in own] == expected * 2
    assert {one.tobytes() for one in masks} == {digest(tmp_path / "masks" / "a.png")}


def test_pictures_without_masks_have_zeros_in_their_place(subset: Subset, dataset: Dataset, paint: Paint) -> None:
    paint("a.png")
    _, masks = content_digests(with_contents(scan([dataset(subset())], Reading()).training, None))
    assert not masks.any()


def test_a_file_is_read_once_for_all_data_sets_and_runs(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = os.open

    def counted(path: str | Path, *more: int) -> int:
        opened.append(os.fspath(path))
        return real(path, *more)

    monkeypatch.setattr("os.open", counted)
    known = with_contents(index, tmp_path / "tables")
    assert sorted(Path(path).parent.name for path in opened) == ["masks", "masks", "pics", "pics"]
    opened.clear()
    with_contents(known, tmp_path / "tables")
    assert opened == []


def test_digests_and_proofs_are_kept_side_by_side(
    index: Index, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    keep = tmp_path / "tables"
    prove([with_contents(index, keep)], keep, show=False)
    again = scan([dataset(subset(tmp_path / "pics"))], Reading(keep=keep)).training.sources[0].table
    assert again.has_digest.all()
    assert (again.decoded == 1).all()


def test_pictures_that_are_gone_are_all_named(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pics" / "a.png").unlink()
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(DataError, match="cannot be read any more") as caught:
        with_contents(index, None)
    assert {Path(problem.where).name for problem in caught.value.problems} == {"a.png", "b.png"}


def test_broken_pictures_and_masks_are_found_in_every_data_set(index: Index, tmp_path: Path) -> None:
    for name in ("pics/a.png", "masks/b.png"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:60])
    found = prove([index], None, show=False).broken_rows(index)
    assert sorted(found) == [0, 1, 2, 3]
    assert [found[row].startswith("its mask ") for row in range(4)] == [False, True, False, True]


def test_only_the_rows_in_question_are_decoded(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pics" / "a.png").write_bytes(b"nothing")
    assert prove([index.take(np.array([1, 3]))], None, show=False).broken_rows(index) == {}
    assert set(prove([index.take(np.array([0, 1]))], None, show=False).broken_rows(index)) == {0, 2}  # both data sets


@pytest.mark.parametrize("name", ["pics/a.png", "masks/a.png"])
def test_a_picture_whose_bytes_are_others_now_has_changed(index: Index, tmp_path: Path, name: str) -> None:
    known = with_contents(index, None)
    (tmp_path / name).write_bytes((tmp_path / "pics" / "b.png").read_bytes() + b"more")
    assert changed_picture(known, 0) == tmp_path / name
    assert changed_picture(known, 1) is None


def test_a_picture_that_was_only_touched_has_not_changed(index: Index, tmp_path: Path) -> None:
    known = with_contents(index, None)
    os.utime(tmp_path / "pics" / "a.png", (2e9, 2e9))
    assert changed_picture(known, 0) is None
    (tmp_path / "pics" / "a.png").unlink()
    assert changed_picture(known, 0) == tmp_path / "pics" / "a.png"


def test_without_digests_nothing_is_promised(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pics" / "a.png").unlink()
    assert changed_picture(index, 0) is None
