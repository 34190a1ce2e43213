"""Write CLIP tokenizers that know every byte and spell the captions' words as one token each."""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from loracore.testing.scenes import COLOURS, PATTERNS, PLACES, SHAPES, SIZES

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
_GRAMMAR = ("a", "an", "and", "with", "background")
_WORD_END = "</w>"


def caption_words() -> tuple[str, ...]:
    """Give the words that captions of scenes are made of; the concept's words are not among them."""
    words = (*_GRAMMAR, *SIZES, *COLOURS, *SHAPES, *PATTERNS, *PLACES)
    return tuple(dict.fromkeys(word for word in words if word))


def byte_letters() -> list[str]:
    """Give one printable letter for each byte: itself where it is printable, else one from beyond Latin-1."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in printable] + [chr(256 + k) for k in range(256 - len(printable))]


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merge the most frequent pair of neighbours again and again, until every word is a single token.

    Merges must be learnt from all words at once: chains written word by word steal one another's letters.
    """
    spellings = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges = []
    while pairs := Counter(pair for letters in spellings for pair in pairwise(letters)):
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        spellings = [_merged(letters, best) for letters in spellings]
    return merges


def _merged(letters: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for letter in letters:
        if joined and (joined[-1], letter) == pair:
            joined[-1] += letter
        else:
            joined.append(letter)
    return joined


def vocabulary(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Give all tokens their numbers, in CLIP's order: bytes, bytes that end a word, merges, start, end."""
    letters = byte_letters()
    endings = [letter + _WORD_END for letter in letters]
    tokens = dict.fromkeys([*letters, *endings, *("".join(pair) for pair in merges), START, END])
    return {token: number for number, token in enumerate(tokens)}


def write_tokenizer(folder: Path, padding: str) -> dict[str, int]:
    """Write a CLIP tokenizer's files and give its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(caption_words())
    tokens = vocabulary(merges)
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "add_prefix_space": False, **names}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2), encoding="utf-8")
    return tokens
