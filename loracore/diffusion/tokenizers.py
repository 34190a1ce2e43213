"""Tokenizers of CLIP text encoders: from the model's folder, a folder of the user's, or the hub."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPTokenizer as HuggingFaceTokenizer
from transformers import PreTrainedTokenizerBase

from loracore.diffusion.folders import HubFolder, LocalFolder, ModelFolder, given_path
from loracore.diffusion.quiet import quiet_libraries
from loracore.errors import DataError

#: Either the joint file, or vocabulary and merges, make a tokenizer.
_JOINT, _SEPARATE = "tokenizer.json", ("vocab.json", "merges.txt")
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")


def find_tokenizer(folder: ModelFolder, part: str, hub_id: str, cache: str | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer in ``folder``/``part``, else in ``cache``/<hub id with "_">, else from the hub.

    One from the hub is kept in ``cache`` when that is given. Raises DataError when none can be had.
    """
    kept = None if cache is None else given_path(cache) / hub_id.replace("/", "_")
    inside = _complete(folder, f"{part}/") or (None if kept is None else _complete(LocalFolder(kept), ""))
    if inside is not None:
        return _read(inside)
    fetched = _complete(HubFolder(hub_id), "")
    if fetched is None:
        raise _absent(hub_id)
    tokenizer = _read(fetched)
    if kept is not None:
        tokenizer.save_pretrained(kept)
    return tokenizer


def _complete(folder: ModelFolder, prefix: str) -> Path | None:
    """Return where all files of a tokenizer are, or None when there is none.

    The library makes an empty tokenizer, and says nothing, when files are missing.
    """
    joint, *separate = (folder.find(prefix + name) for name in (_JOINT, *_SEPARATE))
    if joint is None and None in separate:
        return None
    found = [joint, *separate, *(folder.find(prefix + name) for name in _SETTINGS)]
    return next(file.parent for file in found if file is not None)


def _read(folder: Path) -> PreTrainedTokenizerBase:
    try:
        with quiet_libraries():
            return HuggingFaceTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises nothing more special for damaged files
        message = f"the tokenizer cannot be read: {error}"
        fix = "it needs vocab.json and merges.txt, or tokenizer.json"
        raise DataError(message, where=str(folder), fix=fix) from error


def _absent(hub_id: str) -> DataError:
    message = f"the tokenizer {hub_id} is neither beside the model nor in the hub's cache, and cannot be downloaded"
    place = f"<tokenizer_cache_dir>/{hub_id.replace('/', '_')}"
    return DataError(message, fix=f"connect to the hub once, or put its files into {place}")
