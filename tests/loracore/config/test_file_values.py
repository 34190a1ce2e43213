"""Values that a parser or whoever counts with them would not survive are errors of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.toml_file import read_toml
from loracore.errors import ConfigError
from tests.loracore.config.data_files import Wrong

LONG, DEEP = "9" * 5000, "[" * 5000 + "]" * 5000


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrong:
    """Read a TOML file that must not pass, and give its problems."""
    monkeypatch.chdir(tmp_path)

    def problems(text: str) -> list[str]:
        Path("run.toml").write_text(text, "utf-8")
        with pytest.raises(ConfigError) as caught:
            read_toml(Path("run.toml"))
        return str(caught.value).splitlines()

    return problems


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (LONG, "this number has more than 64 bits"),
        (DEEP, "lists and tables stand more than 32 deep inside each other"),
        ("{a = " * 5000 + "1" + "}" * 5000, "lists and tables stand more than 32 deep inside each other"),
    ],
)
def test_what_the_parser_does_not_survive_is_placed(said: Wrong, value: str, message: str) -> None:
    assert said(f"a = 1\nb = {value}") == [f"run.toml:2: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0x" + "f" * 5000, "b: this number has more than 64 bits"),
        ("9223372036854775808", "b: this number has more than 64 bits"),
        ("[" * 33 + "]" * 33, "b: lists and tables stand more than 32 deep inside each other"),
    ],
)
def test_what_the_parser_lets_through_is_placed_by_its_key(said: Wrong, value: str, message: str) -> None:
    assert said(f"a = 1\nb = {value}") == [f"run.toml:2: {message}"]


def test_ordinary_values_pass(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"a = 9223372036854775807\nb = {'[' * 32 + ']' * 32}\nc = true", "utf-8")
    assert read_toml(path).values["a"] == 2**63 - 1


@pytest.mark.parametrize(
    ("value", "said_of"),
    [
        (LONG, "data.json:2: this number has more than 64 bits"),
        ("[" * 100_000 + "]" * 100_000, "data.json:2: lists and tables stand more than 32 deep inside each other"),
        ("[" * 33 + "]" * 33, "data.json at general.x[0][0]"),
        ("18446744073709551616", "data.json at general.x: x: this number has more than 64 bits"),
    ],
)
def test_json_files_are_held_to_the_same(wrong: Wrong, value: str, said_of: str) -> None:
    assert wrong(f'{{"general":\n {{"x": {value}}}}}', "data.json")[0].startswith(said_of)
