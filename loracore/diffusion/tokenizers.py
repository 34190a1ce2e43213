"""Tokenizers of CLIP text encoders: from the model's folder, a folder of the user's, or the hub."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPTokenizer as HuggingFaceTokenizer
from transformers import PreTrainedTokenizerBase

from loracore.diffusion.folders import ModelFolder
from loracore.diffusion.quiet import quiet_libraries
from loracore.errors import DataError

#: Either the joint file, or vocabulary and merges, make a tokenizer.
_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def find_tokenizer(folder: ModelFolder | None, part: str, hub_id: str, cache: str | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer in ``folder``/``part``, else in ``cache``/<hub id with "_">, else from the hub.

    One from the hub is kept in ``cache`` when that is given. Raises DataError when none can be had.
    """
    inside = _folder_of(folder, part)
    if inside is not None:
        return _read(inside)
    kept = None if cache is None else Path(cache) / hub_id.replace("/", "_")
    if kept is not None and kept.is_dir():
        return _read(kept)
    tokenizer = _from_hub(hub_id)
    if kept is not None:
        tokenizer.save_pretrained(kept)
    return tokenizer


def _folder_of(folder: ModelFolder | None, part: str) -> Path | None:
    """Return the folder of the part's tokenizer files, every one of them on this machine, or None."""
    if folder is None:
        return None
    found = [file for file in (folder.find(f"{part}/{name}") for name in _FILES) if file is not None]
    names = {file.name for file in found}
    complete = "tokenizer.json" in names or {"vocab.json", "merges.txt"} <= names
    return found[0].parent if complete else None


def _read(folder: Path) -> PreTrainedTokenizerBase:
    try:
        with quiet_libraries():
            return HuggingFaceTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"the tokenizer cannot be read: {error}"
        raise DataError(
            message, where=str(folder), fix="it needs vocab.json and merges.txt, or tokenizer.json"
        ) from error


def _from_hub(hub_id: str) -> PreTrainedTokenizerBase:
    try:
        with quiet_libraries():
            return HuggingFaceTokenizer.from_pretrained(hub_id)
    except (OSError, ValueError) as error:
        message = f"the tokenizer {hub_id} is neither beside the model nor in the hub's cache, and cannot be downloaded"
        folder = hub_id.replace("/", "_")
        fix = f"connect to the hub once, or put its files into <tokenizer_cache_dir>/{folder}"
        raise DataError(message, fix=fix) from error
