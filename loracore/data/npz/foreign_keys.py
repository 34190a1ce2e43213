"""Under which keys what other tools' files say is kept: never under those of what this run's models say."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from loracore.data.cache_keys import KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def foreign_key(own: bytes, path: Path) -> bytes | None:
    """Return the key of what a file, as it is now, says in the place of our entry ``own``; None: the file is gone.

    Changed, renamed or removed, it leads to no entry any more, and what it said is encoded. Name, length and time stand
    for its bytes, so that a start reads none of them.
    """
    try:
        now = path.stat()
    except OSError:
        return None
    stamp = json.dumps(["npz", path.name, now.st_size, now.st_mtime_ns])
    return hashlib.blake2b(stamp.encode("ascii"), key=own, digest_size=KEY_BYTES).digest()
