"""Tokenizers of text encoders: from the model's folder, a folder of the user's, or the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import CLIPTokenizer as HuggingFaceTokenizer
from transformers import PreTrainedTokenizerBase

from loracore.diffusion.files.folders import HubFolder, LocalFolder, ModelFolder, given_path
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.text.sentencepiece import read_unigram
from loracore.diffusion.text.t5_text import END, PADDING, T5Tokenizer
from loracore.errors import DataError

#: Either the joint file, or the separate ones, make a tokenizer.
_JOINT, _SEPARATE, _T5_SEPARATE = "tokenizer.json", ("vocab.json", "merges.txt"), ("spiece.model",)
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")

Found = TypeVar("Found")


def find_tokenizer(folder: ModelFolder, part: str, hub_id: str, cache: str | None) -> PreTrainedTokenizerBase:
    """Return the CLIP tokenizer in ``folder``/``part``, else in ``cache``/<hub id with "_">, else from the hub.

    One from the hub is kept in ``cache`` when that is given. Raises DataError when none can be had.
    """
    places = _Places(folder, part, hub_id, cache)
    return places.first(_SEPARATE, _read, lambda tokenizer, kept: tokenizer.save_pretrained(kept))


def find_t5_tokenizer(folder: ModelFolder, part: str, hub_id: str, cache: str | None) -> T5Tokenizer:
    """Return the T5 tokenizer from the first of the places where ``find_tokenizer`` looks.

    Its file is tokenizer.json or spiece.model. Raises DataError when none can be had.
    """
    return T5Tokenizer(_Places(folder, part, hub_id, cache).first(_T5_SEPARATE, _read_t5, _keep_t5))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a tokenizer may be."""

    folder: ModelFolder
    part: str
    hub_id: str
    cache: str | None

    def first(
        self, separate: Sequence[str], read: Callable[[Path], Found], keep: Callable[[Found, Path], object]
    ) -> Found:
        """Return the first tokenizer that is complete, as ``read`` makes it of its folder."""
        kept = None if self.cache is None else given_path(self.cache) / self.hub_id.replace("/", "_")
        inside = _complete(self.folder, f"{self.part}/", separate)
        inside = inside or (None if kept is None else _complete(LocalFolder(kept), "", separate))
        if inside is not None:
            return read(inside)
        fetched = _complete(HubFolder(self.hub_id), "", separate)
        if fetched is None:
            raise _absent(self.hub_id)
        tokenizer = read(fetched)
        if kept is not None:
            keep(tokenizer, kept)
        return tokenizer


def _complete(folder: ModelFolder, prefix: str, separate: Sequence[str]) -> Path | None:
    """Return where all files of a tokenizer are, or None when there is none.

    The library makes an empty tokenizer, and says nothing, when files are missing.
    """
    joint, *others = (folder.find(prefix + name) for name in (_JOINT, *separate))
    if joint is None and None in others:
        return None
    found = [joint, *others, *(folder.find(prefix + name) for name in _SETTINGS)]
    return next(file.parent for file in found if file is not None)


def _read(folder: Path) -> PreTrainedTokenizerBase:
    try:
        with quiet_libraries():
            return HuggingFaceTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises nothing more special for damaged files
        raise _unreadable(folder, error, "it needs vocab.json and merges.txt, or tokenizer.json") from error


def _read_t5(folder: Path) -> Tokenizer:
    """Return the tokenizer as its file describes it; transformers' own class would build it anew, and not the same."""
    joint, fix = folder / _JOINT, "it needs tokenizer.json or spiece.model"
    try:
        tokenizer = Tokenizer.from_file(str(joint)) if joint.is_file() else _of_pieces(folder / _T5_SEPARATE[0])
    except Exception as error:  # the tokenizers library raises nothing more special for damaged files
        raise _unreadable(folder, error, fix) from error
    missing = [token for token in (END, PADDING) if tokenizer.token_to_id(token) is None]
    if missing:
        raise _unreadable(folder, f"it has no {' and no '.join(missing)}", "it is no tokenizer of T5")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _of_pieces(path: Path) -> Tokenizer:
    """Return the tokenizer of a SentencePiece file, put together as T5's tokenizer.json files have it."""
    file = read_unigram(path.read_bytes())
    tokenizer = Tokenizer(models.Unigram(list(file.pieces), unk_id=file.unknown_id, byte_fallback=False))
    if file.character_map:
        tokenizer.normalizer = normalizers.Precompiled(file.character_map)
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([PADDING, END, file.pieces[file.unknown_id][0]])
    return tokenizer


def _keep_t5(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / _JOINT))


def _unreadable(folder: Path, reason: object, fix: str) -> DataError:
    return DataError(f"the tokenizer cannot be read: {reason}", where=str(folder), fix=fix)


def _absent(hub_id: str) -> DataError:
    message = f"the tokenizer {hub_id} is neither beside the model nor in the hub's cache, and cannot be downloaded"
    place = f"<tokenizer_cache_dir>/{hub_id.replace('/', '_')}"
    return DataError(message, fix=f"connect to the hub once, or put its files into {place}")
