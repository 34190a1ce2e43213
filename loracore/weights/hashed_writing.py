"""Writing a network's file tensor by tensor, with the hashes of its content in its header."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from loracore.weights.hashing import LEGACY_OFFSET, LEGACY_SIZE, content_hash
from loracore.weights.network_file import NetworkFile, open_network_file
from loracore.weights.writing import Piece, write_pieces

_LENGTH = 8  # bytes in front of the header that hold its length


def write_hashed(
    path: Path,
    pieces: Iterable[Piece],
    names: Sequence[str],
    metadata: Callable[[NetworkFile], Mapping[str, str]],
) -> None:
    """Write a file whose header says ``metadata`` and ``sshs_model_hash`` and ``sshs_legacy_hash`` of its content.

    Hashes and ranks are known when all tensors are made, and the header comes first: tensors go into a draft beside
    ``path``, of which ``metadata`` is asked, and are copied. The whole is never in memory. Raises LoracoreError when
    the disk is full; then nothing is left behind.
    """
    draft = path.with_name(f".{path.stem}.draft-{os.getpid()}.safetensors")
    try:
        write_pieces(draft, pieces, names, {})
        made = open_network_file(draft)
        said = metadata(made)
        hashes = {"sshs_model_hash": content_hash(draft), "sshs_legacy_hash": _legacy_hash(draft, said)}
        write_pieces(path, _copied(made), list(made.shapes), {**said, **hashes})
    finally:
        draft.unlink(missing_ok=True)


def _copied(made: NetworkFile) -> Iterator[Piece]:
    for name in made.shapes:
        yield Piece((name,), partial(made.read, (name,)))


def _legacy_hash(path: Path, metadata: Mapping[str, str]) -> str:
    """Return what the WebUI's first model hash is of these tensors behind a header of the ss_* keys alone.

    Such a header, as the format's own writer makes it, is as long as it can be without spaces, but for the last few.
    """
    own = {name: value for name, value in metadata.items() if name.startswith("ss_")}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        entries = {**json.loads(file.read(length)), "__metadata__": own}
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        other = -(-len(text) // 8) * 8
        whole = other.to_bytes(_LENGTH, "little") + text.ljust(other)
        front = whole[LEGACY_OFFSET : LEGACY_OFFSET + LEGACY_SIZE]  # a long header reaches into what is hashed
        file.seek(_LENGTH + length + max(0, LEGACY_OFFSET - len(whole)))  # the tensors behind it stand elsewhere here
        return hashlib.sha256(front + file.read(LEGACY_SIZE - len(front))).hexdigest()[:8]
