from __future__ import annotations

import os

import pytest

from loracore.cli.secret_flags import handed_over, handing_over, parted


@pytest.mark.parametrize(
    ("words", "kept", "taken"),
    [
        (["a.toml", "--token", "x", "--seed", "1"], ["a.toml", "--seed", "1"], ["--token", "x"]),
        (["--token=x", "a.toml"], ["a.toml"], ["--token=x"]),
        (["--my-key", "x", "a.toml"], ["a.toml"], ["--my-key", "x"]),
        (["--token", "--seed", "1"], ["--seed", "1"], ["--token"]),
        (["--args", "a=1", "--token", "x", "a.toml"], ["a.toml", "--args", "a=1"], ["--token", "x"]),
        (["--args", "a=1", "--token=x", "a.toml"], ["a.toml", "--args", "a=1"], ["--token=x"]),
        (["--prompts", "token", "x"], ["--prompts", "token", "x"], []),
    ],
)
def test_flags_go_with_their_values(words: list[str], kept: list[str], taken: list[str]) -> None:
    assert parted(words, {"token", "my_key"}) == (kept, taken)


def test_words_are_handed_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--token", "it's \u00fc"]
    (item,) = handing_over(words).items()
    monkeypatch.setenv(*item)
    assert handed_over() == words
    assert (handed_over(), item[0] in os.environ) == ([], False)
    assert not handing_over([])
