"""What a cached tensor depends on, as its key: nothing that is equal in two runs is encoded twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.index import Index
from loracore.data.sources import Source

KEY_BYTES = 16
#: n keys or digests, (n, 16).
Keys = NDArray[np.uint8]

#: Changes whenever pictures are brought to pixels in another way, or entries hold something else.
_FORMAT = 1


def identity(kind: str, values: Mapping[str, Any]) -> bytes:
    """Return what is common to all entries of one kind: model, precision, options, as 16 bytes."""
    text = json.dumps({"kind": kind, "format": _FORMAT, **values}, sort_keys=True, default=str)
    return _digest(text.encode("utf-8"))


def text_key(own: bytes, caption: str) -> bytes:
    """Return the key of what the text encoders of this identity say of a caption."""
    return _digest(own, caption.encode("utf-8"))


def latents_keys(own: bytes, index: Index, digests: Keys, mask_digests: Keys, *, flipped: bool) -> Keys:
    """Return the key of every picture's latents, with its mask, mirrored or not.

    ``digests`` (n, 16) stand for the contents of the pictures, ``mask_digests`` for those of their masks.
    """
    framings = index.framings
    columns = np.concatenate([framings.resized, framings.crops, framings.sizes], axis=1)
    framed = [row.tobytes() for row in columns[:, None, :]]
    rules = [_digest(own, _rules(source), bytes([flipped])) for source in index.sources]
    contents = np.concatenate([digests, mask_digests], axis=1)
    keys = b"".join(
        _digest(rules[source], framed[framing], content.tobytes())
        for source, framing, content in zip(
            index.source_rows.tolist(), index.framing_rows.tolist(), contents, strict=True
        )
    )
    return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)


def _rules(source: Source) -> bytes:
    """Return what of a subset changes pixels or masks, beside the framing."""
    subset = source.subset
    values = (subset.resize_interpolation, subset.alpha_mask, subset.conditioning_data_dir is not None)
    return json.dumps(values).encode("utf-8")


def _digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        found.update(len(part).to_bytes(4, "little"))  # so that parts cannot run into each other
        found.update(part)
    return found.digest()
