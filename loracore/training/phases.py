"""The phases before training: captions are encoded and the text encoders freed, then pictures and the VAE."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pluggy
import torch
from tqdm import tqdm

from loracore.config.config import Config
from loracore.config.options import DataOptions
from loracore.data.cache import LatentCache, TextCache
from loracore.data.loader import load_images
from loracore.data.picture import Index
from loracore.errors import DataError, Problem
from loracore.memory.fitting import fit_models, load_device
from loracore.types import Latents, Models, Part, TextConditioning

CAPTIONS_AT_ONCE = 8


@dataclass(frozen=True, eq=False, slots=True)
class Loading:
    """How parts of the base model are loaded."""

    hook: pluggy.HookRelay
    device: torch.device
    dtype: torch.dtype
    config: Config
    adapt: Callable[[Models], object] | None = None  # what is done to models as soon as they are loaded

    def models(self, *parts: Part) -> Models:
        """Return the named parts of the base model, on the device as far as they fit there.

        Raises ConfigError when options that spare memory do not fit this model.
        """
        place = load_device(self.config, self.device, parts)
        loaded: Models = self.hook.load_models(
            parts=frozenset(parts), device=place, dtype=self.dtype, config=self.config
        )
        fit_models(loaded, self.device, self.dtype, self.config, stay=loaded.placed)
        if self.adapt is not None:
            self.adapt(loaded)
        return loaded


def encode_captions(
    loading: Loading, captions: Iterable[str], encoders: Sequence[Part] = ("text",), *, show: bool = True
) -> TextCache:
    """Return the conditioning of every distinct caption; the text encoders are loaded for it and freed."""
    distinct = sorted(set(captions))
    models = loading.models(*encoders)
    found: dict[str, TextConditioning] = {}
    with torch.no_grad(), tqdm(total=len(distinct), desc="captions", unit="caption", disable=not show) as bar:
        for start in range(0, len(distinct), CAPTIONS_AT_ONCE):
            chunk = distinct[start : start + CAPTIONS_AT_ONCE]
            said = loading.hook.encode_text(models=models, captions=chunk, config=loading.config).to("cpu")
            found.update({caption: _row(said, row) for row, caption in enumerate(chunk)})
            bar.update(len(chunk))
    del models
    free_memory()
    return TextCache(found)


def encode_pictures(loading: Loading, index: Index, *, show: bool = True) -> LatentCache:
    """Return the latents of every picture; the VAE is loaded for it and freed.

    Raises DataError naming every picture whose latents are not finite.
    """
    models = loading.models("vae")
    found: dict[int, Latents] = {}
    with torch.no_grad(), tqdm(total=len(index.pictures), desc="latents", unit="picture", disable=not show) as bar:
        for rows in _same_size(index, loading.config[DataOptions].vae_batch_size):
            images = load_images([index.pictures[row] for row in rows]).to(loading.device)
            latents = loading.hook.encode_images(models=models, images=images, config=loading.config).to("cpu")
            found.update({row: Latents(latents.mean[at], latents.log_variance[at]) for at, row in enumerate(rows)})
            bar.update(len(rows))
    del models
    free_memory()
    _check_finite(found, index, halved=loading.dtype != torch.float32)
    return LatentCache(found)


def free_memory() -> None:
    """Give back what freed models held: reference circles in host memory, cached blocks on the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _row(conditioning: TextConditioning, row: int) -> TextConditioning:
    return TextConditioning({name: tensor[row].clone() for name, tensor in conditioning.tensors.items()})


def _same_size(index: Index, at_once: int) -> Iterable[Sequence[int]]:
    by_size: dict[tuple[int, int], list[int]] = {}
    for row, picture in enumerate(index.pictures):
        by_size.setdefault(picture.framing.size, []).append(row)
    for rows in by_size.values():
        yield from (rows[start : start + at_once] for start in range(0, len(rows), at_once))


def _check_finite(latents: dict[int, Latents], index: Index, *, halved: bool) -> None:
    bad = [
        row
        for row, one in sorted(latents.items())
        if not (one.mean.isfinite().all() and one.log_variance.isfinite().all())
    ]
    if bad:
        fix = "the VAE's file may be damaged"
        if halved:
            fix = "the VAE overflows in half precision: give --no_half_vae, or --mixed_precision no"
        raise DataError.of(
            Problem("the picture's latents are not finite", str(index.pictures[row].path), fix) for row in bad
        )
