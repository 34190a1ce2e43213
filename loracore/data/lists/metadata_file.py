"""The lists of pictures and captions that ``metadata_file`` names."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loracore.data.lists.metadata_entries import Entry, read_lines, read_object
from loracore.data.lists.metadata_keys import find_pictures, is_relative
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from loracore.config.dataset_spec import CaptionRules

_SHOWN = 20  # problems of a list that could have a million


@dataclass(frozen=True, slots=True)
class MetadataList:
    """Pictures and what is said of them: columns of strings, sorted by path, for there may be a million."""

    paths: tuple[str, ...]  # those inside image_dir begin with it as it was written, others are absolute
    captions: tuple[str, ...]  # "": none; lines are parted by newlines
    tags: tuple[str, ...]  # "": none
    problems: tuple[Problem, ...] = ()  # the first of them in words, the others counted


def read_metadata(path: Path, image_dir: Path | None, place: str, suffixes: Collection[str]) -> MetadataList:
    """Return the pictures of a list with their captions; ``place`` says where the list is asked for.

    Keys may lack the extension, one of ``suffixes`` (lower case, with dot); whether other pictures exist is not looked
    at. What is wrong stands beside what can be used. Raises DataError for a list that cannot be read at all.
    """
    entries, problems = _read(path, place)
    if image_dir is None:
        problems += _homeless(entries, path, place)
        entries = [entry for entry in entries if not is_relative(entry.key)]
    found = find_pictures([entry.key for entry in entries], image_dir, suffixes)
    pairs = list(zip(found, entries, strict=True))
    placed = sorted((one, entry) for one, entry in pairs if isinstance(one, str))
    problems += [replace(one, where=_where(path, entry)) for one, entry in pairs if isinstance(one, Problem)]
    problems += dict.fromkeys(_unlisted(one, place) for one in found if isinstance(one, OSError))
    problems += _repeated([(one, entry) for one, entry in pairs if isinstance(one, str)], path)
    return MetadataList(
        paths=tuple(one for one, _ in placed),
        captions=tuple(entry.caption for _, entry in placed),
        tags=tuple(entry.tags for _, entry in placed),
        problems=tuple(_some(problems, path)),
    )


def entry_caption(caption: str, tags: str, rules: CaptionRules) -> str:
    """Return a picture's caption followed by its tags; with wildcards, the tags follow every line of the caption."""
    separator = rules.caption_separator
    if not rules.enable_wildcard:
        return separator.join(part for part in (caption, tags) if part)
    tags = tags.replace("\n", separator)
    if not caption:
        return "" if rules.legacy_captions else tags
    after = f"{separator}{tags}" if tags else ""
    return "\n".join(f"{line}{after}" for line in caption.split("\n") if line.strip())


def _read(path: Path, place: str) -> tuple[list[Entry], list[Problem]]:
    """Return what the list says, and what is wrong with its text. Raises DataError where it cannot be opened."""
    readers = {".json": read_object, ".jsonl": read_lines}
    if path.suffix.lower() not in readers:
        raise DataError(f"metadata_file '{path}' is neither .json nor .jsonl", where=place)
    try:
        found = list(readers[path.suffix.lower()](path))
    except OSError as error:
        fix = "relative paths start at the working directory" if isinstance(error, FileNotFoundError) else ""
        raise DataError(f"metadata_file '{path}' cannot be read: {error.strerror}", where=place, fix=fix) from error
    entries = [one for one in found if isinstance(one, Entry)]
    return entries, [one for one in found if isinstance(one, Problem)]


def _unlisted(error: OSError, place: str) -> Problem:
    """Return the problem of a folder that cannot be listed."""
    message = f"the folder '{error.filename}' cannot be read: {error.strerror}"
    return Problem(message, place, "the list names pictures without extension, which are looked for there")


def _homeless(entries: Sequence[Entry], path: Path, place: str) -> tuple[Problem, ...]:
    """Return the problem of a list with relative paths and no folder for them."""
    keys = [entry.key for entry in entries if is_relative(entry.key)]
    if not keys:
        return ()
    message = f"'{path}' has relative paths, and there is no image_dir: {keys[0]!r}"
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return (Problem(message + more, place, "give their folder as image_dir"),)


def _repeated(placed: Sequence[tuple[str, Entry]], path: Path) -> list[Problem]:
    """Return a problem for every entry whose picture has one already."""
    first: dict[str, Entry] = {}
    found: list[Problem] = []
    for one, entry in placed:
        earlier = first.setdefault(os.path.normcase(one), entry)
        if earlier is not entry:
            line = f" (line {earlier.line})" if earlier.line else ""
            message = f"two captions for one picture: {earlier.key!r}{line} and {entry.key!r}"
            found.append(Problem(message, _where(path, entry)))
    return found


def _where(path: Path, entry: Entry) -> str:
    return f"{path}:{entry.line}" if entry.line else str(path)


def _some(problems: Sequence[Problem], path: Path) -> list[Problem]:
    more = len(problems) - _SHOWN
    return [*problems[:_SHOWN], *([Problem(f"and {more} more problems", str(path))] if more > 0 else [])]
