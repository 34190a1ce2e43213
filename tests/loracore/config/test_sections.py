"""Section names of a file are cosmetic, one level deep; the later of two keys counts; a data set is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.sections import Sections, holds_data_set, read_sections
from loracore.config.toml_file import read_toml


@pytest.fixture
def sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Sections:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(request.param, encoding="utf-8")
    return read_sections(read_toml(Path("a.toml")))


def text(toml: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sections", [toml], indirect=True)


def said(sections: Sections) -> list[str]:
    return [str(problem) for problem in sections.problems]


@text("rank = 8\n['any name']\nalpha = 1\n[other]\nwarm-up = 2\n")
def test_every_section_is_opened(sections: Sections) -> None:
    found = {each.name: (each.value, each.place) for each in sections.given}
    assert found == {"rank": (8, "a.toml:1"), "alpha": (1, "a.toml:3"), "warm_up": (2, "a.toml:5")}


@text("[a]\n[a.b]\nrank = 8\n")
def test_a_table_inside_a_table_is_an_error(sections: Sections) -> None:
    assert said(sections) == ["a.toml:2: table 'b' stands inside table 'a' (sections are one level deep)"]


@text("[[a]]\nrank = 8\n")
def test_an_array_of_tables_is_an_error(sections: Sections) -> None:
    assert said(sections) == ["a.toml:1: 'a' is an array of tables, which no option is (write [section] once)"]


@text("[a]\nrank = 8\n[b]\nrank = 4\n")
def test_a_key_in_two_sections_is_the_later_one_and_a_note_names_both(sections: Sections) -> None:
    assert [(each.value, each.place) for each in sections.given] == [(4, "a.toml:4")]
    assert sections.notes == ("a.toml:4: 'rank' stands in a.toml:2 too: the later one counts",)
    assert said(sections) == []


@text("warm_up = 8\nwarm-up = 8\n")
def test_a_key_in_both_spellings_is_given_twice(sections: Sections) -> None:
    assert said(sections) == ["a.toml:2: 'warm_up' is given twice, also in a.toml:1 (keep one)"]


@text("rank = 8\n[general]\nflip_aug = true\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'\n")
def test_a_data_set_in_the_same_file_is_left_alone(sections: Sections) -> None:
    assert [each.name for each in sections.given] == ["rank"]
    assert sections.problems == ()
    assert holds_data_set(read_toml(Path("a.toml")))


@text("[general]\nrank = 8\n")
def test_general_is_a_section_like_any_other_without_a_data_set(sections: Sections) -> None:
    assert [each.name for each in sections.given] == ["rank"]


@text("rates = [\n  1,\n  2,\n]\n")
def test_every_item_of_a_list_knows_its_line(sections: Sections) -> None:
    assert sections.given[0].item_places == ("a.toml:2", "a.toml:3")
