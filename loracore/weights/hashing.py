"""Hashes of a network's file by which the WebUI and its add-ons know it again, read a piece at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path

_LENGTH = 8  # bytes in front of the header that hold its length
LEGACY_OFFSET, LEGACY_SIZE = 0x100000, 0x10000  # where the WebUI's first hash of models reads
_CHUNK = 1 << 20


def content_hash(path: Path) -> str:
    """Return what ``sshs_model_hash`` should be: SHA-256 of the tensors' bytes, the header left out."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(_LENGTH + int.from_bytes(file.read(_LENGTH), "little"))
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
