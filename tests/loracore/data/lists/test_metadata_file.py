from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.config.dataset_spec import CaptionRules
from loracore.data.lists.metadata_file import MetadataList, entry_caption, read_metadata
from loracore.errors import DataError

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden

PLACE = "data.toml:7"
#: A recorded case in which a fault of the field is mended, and what is said instead.
MENDED = {"tags only, wildcards on: tags are lost": "t1,t2"}

List = Callable[..., Path]


@pytest.fixture
def listed(tmp_path: Path) -> List:
    """Write a list of pictures: an object as .json, objects as the lines of .jsonl."""

    def write(content: Any) -> Path:
        path = tmp_path / ("m.jsonl" if isinstance(content, list) else "m.json")
        lines = content if isinstance(content, list) else [content]
        path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return path

    return write


def read(path: Path, image_dir: Path | None = Path("pictures")) -> MetadataList:
    return read_metadata(path, image_dir, PLACE, frozenset({".png"}))


def problems_of(path: Path, image_dir: Path | None = Path("pictures")) -> list[str]:
    try:
        problems = read(path, image_dir).problems
    except DataError as error:
        problems = error.problems
    return [str(problem).replace(str(path), path.name) for problem in problems]


def captions_of(golden: Golden, *, legacy: bool) -> dict[str, tuple[str, str]]:
    """Return our caption and the recorded one for each case."""
    found = {}
    for case in golden["metadata_captions"]["cases"]:
        entry, rules = case["entry"], CaptionRules(**case["settings"], legacy_captions=legacy)
        ours = entry_caption(entry.get("caption", ""), entry.get("tags", ""), rules)
        found[case["how"]] = (ours, case["caption"])
    return found


def test_legacy_captions_of_entries_are_the_golden_ones(golden: Golden) -> None:
    found = captions_of(golden, legacy=True)
    assert len(found) == 9
    assert [how for how, (ours, recorded) in found.items() if ours != recorded] == []


def test_captions_of_entries_differ_only_where_a_fault_is_mended(golden: Golden) -> None:
    found = captions_of(golden, legacy=False)
    assert {how: ours for how, (ours, recorded) in found.items() if ours != recorded} == MENDED


def test_blank_lines_get_no_tags() -> None:
    assert entry_caption("c\n \n\nd", "t", CaptionRules(enable_wildcard=True)) == "c,t\nd,t"


def test_pictures_are_sorted_by_path(listed: List) -> None:
    found = read(listed({"b.png": {"caption": "B"}, "./a.png": {"tags": "t"}}))
    assert found == MetadataList((str(Path("pictures/a.png")), str(Path("pictures/b.png"))), ("", "B"), ("t", ""))


def test_lines_and_object_say_the_same(listed: List) -> None:
    entry = {"caption": "c", "tags": "t"}
    assert read(listed([{"image_path": "a.png", **entry}])) == read(listed({"a.png": entry}))


@given(st.dictionaries(st.text("abc", min_size=1).map("{}.png".format), st.tuples(st.text(), st.text())))
def test_every_picture_keeps_its_own_words(
    tmp_path_factory: pytest.TempPathFactory, words: dict[str, tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("lists") / "m.json"
    path.write_text(json.dumps({key: {"caption": one, "tags": two} for key, (one, two) in words.items()}), "utf-8")
    found = read(path)
    said = zip(found.paths, found.captions, found.tags, strict=True)
    assert {Path(one).name: rest for one, *rest in said} == {
        key: [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts] for key, texts in words.items()
    }


def test_an_empty_list_is_no_error(listed: List) -> None:
    assert read(listed({})) == MetadataList((), (), ())


def test_one_picture_has_one_caption(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"a.png": {}, "a.png": {}, "./a.png": {}}', "utf-8")
    assert problems_of(path) == [
        "m.json: two captions for one picture: 'a.png' and 'a.png'",
        "m.json: two captions for one picture: 'a.png' and './a.png'",
    ]


def test_a_repeated_picture_is_found_with_and_without_extension(listed: List, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    keys = ["a", "b.png", str(tmp_path / "a.png")]
    (problem,) = problems_of(listed([{"image_path": key} for key in keys]), tmp_path)
    assert problem == f"m.jsonl:3: two captions for one picture: 'a' (line 1) and '{tmp_path / 'a.png'}'"


def test_relative_paths_need_a_folder(listed: List) -> None:
    (problem,) = problems_of(listed({"a.png": {}, "b.png": {}}), None)
    said = "'m.json' has relative paths, and there is no image_dir: 'a.png' and 1 more"
    assert problem == f"{PLACE}: {said} (give their folder as image_dir)"


def test_absolute_paths_need_no_folder(listed: List, tmp_path: Path) -> None:
    assert read(listed({str(tmp_path / "a.png"): {}}), None).paths == (str(tmp_path / "a.png"),)


def test_all_kinds_of_problems_are_told_at_once(listed: List) -> None:
    keys: list[Any] = ["../a.png", 5, "b.png", "b.png"]
    assert problems_of(listed([{"image_path": key} for key in keys])) == [
        "m.jsonl:2: image_path is a number, not text",
        "m.jsonl:1: '../a.png' leaves image_dir (write paths inside image_dir, or absolute ones)",
        "m.jsonl:4: two captions for one picture: 'b.png' (line 3) and 'b.png'",
    ]


def test_what_is_sound_stands_beside_what_is_wrong(listed: List, tmp_path: Path) -> None:
    keys = ["none/a", "../b.png", "c.png", str(tmp_path / "d.png"), "e"]
    found = read(listed([{"image_path": key} for key in keys]), tmp_path / "in")
    assert found.paths == (str(tmp_path / "d.png"), str(tmp_path / "in" / "c.png"))
    assert len(found.problems) == 3


def test_absolute_keys_are_found_beside_homeless_ones(listed: List, tmp_path: Path) -> None:
    found = read(listed({"a.png": {}, str(tmp_path / "b.png"): {}}), None)
    assert (found.paths, len(found.problems)) == ((str(tmp_path / "b.png"),), 1)


def test_twenty_problems_are_told_and_the_others_counted(listed: List) -> None:
    found = problems_of(listed({f"{number}.png": {"tags": 1} for number in range(25)}))
    assert len(found) == 21
    assert found[-1] == "m.json: and 5 more problems"


def test_a_list_that_is_missing_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    (problem,) = problems_of(path)
    assert problem.startswith(f"{PLACE}: metadata_file 'm.json' cannot be read: ")
    assert problem.endswith("(relative paths start at the working directory)")


def test_other_files_are_no_lists(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "m.csv") == [f"{PLACE}: metadata_file 'm.csv' is neither .json nor .jsonl"]


def test_a_folder_that_is_missing_is_named(listed: List, tmp_path: Path) -> None:
    (problem,) = problems_of(listed({"a": {}}), tmp_path / "none")
    assert problem.startswith(f"{PLACE}: the folder '{tmp_path / 'none'}' cannot be read: ")
