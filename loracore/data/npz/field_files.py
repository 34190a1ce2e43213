"""The field's ``.npz`` files beside pictures: what they are called, whether they are valid, what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.npz.npz_files import Arrays, Header, npz_arrays, npz_headers

if TYPE_CHECKING:
    from loracore.data.buckets import Size
    from loracore.types import Framing, LatentsFile, TextFile

Floats = NDArray[np.float32]

#: Written beside the field's arrays, whose readers do not mind: the key of our cache, from which everything follows.
_KEY = "loracore_key"
_CLOSE = 0.01  # pixels; crop boxes are compared after another order of the same arithmetic


class Origin(Enum):
    """Who wrote a file whose arrays fit."""

    OURS = "ours"  # our key is in it: it is of this picture, this model and these options
    FOREIGN = "foreign"  # it says nothing of its model, nor whether the picture has changed since


@dataclass(frozen=True, slots=True)
class WantedLatents:
    """What a file of latents must hold to be of use for a picture."""

    framing: Framing
    mirrored: bool  # the mirror image's latents too
    masked: bool  # the picture's transparency too
    key: bytes  # of the picture's latents in our cache


@dataclass(frozen=True, eq=False, slots=True)
class FieldLatents:
    """What a file holds of a picture; the VAE's own scale."""

    plain: Floats  # C,h,w
    mirrored: Floats | None  # C,h,w
    alpha: Floats | None  # H,W in [0, 1]; never mirrored


def latents_path(layout: LatentsFile, picture: Path, original: Size) -> Path:
    """Return a picture's file of latents."""
    width, height = original
    return picture.with_name(f"{picture.stem}_{width:04d}x{height:04d}{layout.suffix}")


def latents_size(layout: LatentsFile, framing: Framing) -> Size:
    """Return the latents' width and height."""
    width, height = framing.size
    return width // layout.pixels, height // layout.pixels


def text_path(layout: TextFile, picture: Path) -> Path:
    """Return the file of a picture's encoded caption."""
    return picture.with_name(picture.stem + layout.suffix)


def crop_box(framing: Framing) -> NDArray[np.float64]:
    """Return left, top, right and bottom as the field stores them: the whole picture, fitted into the bucket.

    Not what is really cut away: that lies along the other side.
    """
    width, height = framing.size
    aspect = framing.original[0] / framing.original[1]
    fitted = (height * aspect, float(height)) if width / height > aspect else (float(width), width / aspect)
    left, top = (width - fitted[0]) // 2, (height - fitted[1]) // 2
    return np.array([left, top, left + fitted[0], top + fitted[1]], dtype=np.float64)


def latents_origin(path: Path, layout: LatentsFile, wanted: WantedLatents) -> Origin | None:
    """Tell who wrote a file that has all that is wanted; None for one that has not. Raises DamagedNpzError.

    The latents themselves are not read.
    """
    end, headers = _end(layout, latents_size(layout, wanted.framing)), npz_headers(path)
    sizes = {f"original_size{end}": (2,), f"crop_ltrb{end}": (4,)}
    if not _fit(headers, {**_tensors(layout, wanted), **sizes}, "fiu"):
        return None
    told = npz_arrays(path, sizes)
    original, crop = (told[name] for name in sizes)
    if tuple(original.tolist()) != wanted.framing.original or not _near(crop, crop_box(wanted.framing)):
        return None
    return _written_by(path, headers, f"{_KEY}{end}", wanted.key)


def read_latents(path: Path, layout: LatentsFile, wanted: WantedLatents) -> FieldLatents | None:
    """Return what ``latents_origin`` has found to fit; None where a number cannot be. Raises DamagedNpzError."""
    end = _end(layout, latents_size(layout, wanted.framing))
    arrays = {name: array.astype(np.float32) for name, array in npz_arrays(path, _tensors(layout, wanted)).items()}
    alpha = arrays.get(f"alpha_mask{end}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return None
    if alpha is not None and (alpha.min() < 0 or alpha.max() > 1):
        return None
    return FieldLatents(arrays[f"latents{end}"], arrays.get(f"latents_flipped{end}"), alpha)


def latents_arrays(layout: LatentsFile, wanted: WantedLatents, latents: FieldLatents) -> Arrays | None:
    """Return the arrays of a file of latents, our key among them; None for a VAE of other sizes."""
    size = latents_size(layout, wanted.framing)
    end = _end(layout, size)
    if latents.plain.shape != (layout.channels, *size[::-1]):
        return None
    arrays: dict[str, NDArray[Any]] = {
        f"latents{end}": latents.plain,
        f"original_size{end}": np.array(wanted.framing.original, dtype=np.int64),
        f"crop_ltrb{end}": crop_box(wanted.framing),
        f"{_KEY}{end}": np.frombuffer(wanted.key, dtype=np.uint8),
    }
    if latents.mirrored is not None:
        arrays[f"latents_flipped{end}"] = latents.mirrored
    if latents.alpha is not None:
        arrays[f"alpha_mask{end}"] = latents.alpha
    return arrays


def latents_of_other_sizes(path: Path, layout: LatentsFile, sizes: Iterable[Size]) -> Arrays:
    """Return what a file holds beside latents of these sizes. Raises DamagedNpzError."""
    if not layout.sized_keys:
        return {}
    ends = tuple(_end(layout, size) for size in sizes)
    headers = npz_headers(path)
    return npz_arrays(path, [name for name in headers if not name.endswith(ends) and headers[name].kind in "fiub"])


def text_origin(path: Path, layout: TextFile, key: bytes) -> Origin | None:
    """Tell who wrote a file of an encoded caption that has all we need; None otherwise. Raises DamagedNpzError."""
    headers = npz_headers(path)
    flags = dict.fromkeys(layout.flags, ())
    if not _fit(headers, _text_shapes(layout), "f") or not _fit(headers, flags, "biu"):
        return None
    told = npz_arrays(path, flags)
    if any(bool(told[name]) != value for name, value in layout.flags.items()):
        return None
    return _written_by(path, headers, _KEY, key)


def read_text(path: Path, layout: TextFile) -> Mapping[str, NDArray[Any]] | None:
    """Return our conditioning from a file that fits; None where a number cannot be. Raises DamagedNpzError."""
    arrays = npz_arrays(path, layout.columns)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return None
    parts: dict[str, list[NDArray[Any]]] = {}
    for name, widths in layout.columns.items():
        ends = np.cumsum(list(widths.values()))[:-1]
        for tensor, part in zip(widths, np.split(arrays[name], ends, axis=-1), strict=True):
            parts.setdefault(tensor, []).append(part)
    return {tensor: np.concatenate(several, axis=-1) for tensor, several in parts.items()}


def text_arrays(layout: TextFile, tensors: Mapping[str, NDArray[Any]], key: bytes) -> Arrays | None:
    """Return the arrays of a file of an encoded caption, our key among them; None for encoders of other sizes."""
    taken = dict.fromkeys(tensors, 0)  # columns
    arrays: dict[str, NDArray[Any]] = {_KEY: np.frombuffer(key, dtype=np.uint8)}
    arrays |= {name: np.array(value) for name, value in layout.flags.items()}
    for name, widths in layout.columns.items():
        parts = [tensors[tensor][..., taken[tensor] : taken[tensor] + width] for tensor, width in widths.items()]
        arrays[name] = np.concatenate(parts, axis=-1)
        taken |= {tensor: taken[tensor] + width for tensor, width in widths.items()}
    whole = all(tensors[name].shape[-1] == width for name, width in taken.items())
    fits = whole and all(arrays[name].shape == shape for name, shape in _text_shapes(layout).items())
    return arrays if fits else None


def _end(layout: LatentsFile, size: Size) -> str:
    """Return what stands behind the names of arrays of latents of this size."""
    return f"_{size[1]}x{size[0]}" if layout.sized_keys else ""


def _tensors(layout: LatentsFile, wanted: WantedLatents) -> dict[str, tuple[int, ...]]:
    """Return the arrays that hold pixels or latents, with their shapes."""
    width, height = size = latents_size(layout, wanted.framing)
    end = _end(layout, size)
    names = [f"latents{end}", *([f"latents_flipped{end}"] if wanted.mirrored else [])]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (layout.channels, height, width))
    return {**shapes, f"alpha_mask{end}": wanted.framing.size[::-1]} if wanted.masked else shapes


def _text_shapes(layout: TextFile) -> dict[str, tuple[int, ...]]:
    widths = {name: sum(parts.values()) for name, parts in layout.columns.items()}
    tokens = layout.lengths
    return {name: (tokens[name], width) if name in tokens else (width,) for name, width in widths.items()}


def _fit(headers: Mapping[str, Header], shapes: Mapping[str, tuple[int, ...]], kinds: str) -> bool:
    """Tell whether all these arrays are there, with these shapes and of one of these kinds."""
    return all(
        name in headers and headers[name].shape == shape and headers[name].kind in kinds
        for name, shape in shapes.items()
    )


def _near(found: NDArray[Any], expected: NDArray[np.float64]) -> bool:
    return bool(np.abs(found - expected).max() <= _CLOSE)


def _written_by(path: Path, headers: Mapping[str, Header], name: str, key: bytes) -> Origin | None:
    if name not in headers:
        return Origin.FOREIGN
    if not _fit(headers, {name: (len(key),)}, "u"):
        return None
    return Origin.OURS if npz_arrays(path, [name])[name].astype(np.uint8).tobytes() == key else None
