"""What is said of pictures and captions that the models turned into numbers that are not finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from loracore.data.index import Index
from loracore.errors import DataError, LoracoreError, Problem

#: So many are named, and no more are looked for: they would say the same.
ENOUGH = 20


def latents_not_finite(index: Index, rows: Iterable[int], dtype: torch.dtype, *, all_seen: bool) -> LoracoreError:
    """Return the error that names pictures; ``all_seen`` tells that there are no others."""
    fix = "the VAE's file may be damaged"
    if dtype != torch.float32:
        fix = "the VAE overflows in half precision: give --no_half_vae, or --mixed_precision no"
    places = [str(index.path(row)) for row in sorted(set(rows))]
    return DataError.of(_problems("the picture's latents are not finite", places, fix, all_seen=all_seen))


def captions_not_finite(captions: Sequence[str], dtype: torch.dtype, *, all_seen: bool) -> LoracoreError:
    """Return the error that names captions; ``all_seen`` tells that there are no others."""
    fix = "a text encoder's file may be damaged"
    if dtype == torch.float16:  # bfloat16 has the range of float32
        fix = "a text encoder overflows in half precision: give --mixed_precision bf16, or --mixed_precision no"
    elif dtype != torch.float32:
        fix = "give --mixed_precision no; if that does not help, a text encoder's file may be damaged"
    places = [f'caption "{caption}"' for caption in captions]
    return DataError.of(_problems("what the text encoders say of it is not finite", places, fix, all_seen=all_seen))


def _problems(message: str, places: Sequence[str], fix: str, *, all_seen: bool) -> Iterator[Problem]:
    for place in places[:ENOUGH]:
        yield Problem(message, place, fix)
    if not all_seen or len(places) > ENOUGH:
        yield Problem(f"these are the first {ENOUGH}; encoding stopped there, so that there may be more")
