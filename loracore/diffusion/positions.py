"""Tables of positions for the patches of a picture: scaled ones, what is cut out of them, and who is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import isqrt, sqrt
from typing import Any

import torch
from diffusers.models.embeddings import PatchEmbed
from torch import Tensor, nn

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import SpeedOptions
from loracore.errors import DataError, Problem
from loracore.noise.rng import SampleRng

#: What a table's middle spans, whatever the resolution, and the longest wave.
_SPAN, _LONGEST = 16.0, 10_000.0
#: Sides of a scaled table against those of its resolution.
_MARGIN = 1.5


def squares(datasets: Sequence[DatasetSpec], patch: int) -> Sequence[int]:
    """Return the training resolutions as squares, rising: their sides in patches of ``patch`` pixels."""
    areas = (dataset.resolution[0] * dataset.resolution[1] for dataset in datasets)
    return sorted({round(sqrt(area)) // patch for area in areas})


def scaled_crop(
    sides: Sequence[int], size: tuple[int, int], features: int, corners: Tensor | None, device: torch.device
) -> Tensor:
    """Return positions (B,height·width,features), float32, that suit ``size`` (height, width); all in patches.

    They are cut, like by `crop`, out of a table that is 1.5 times as large as its resolution, or as the size where that
    is more; its middle, as large as the resolution, spans 0 to 16. ``sides`` are those of the training resolutions as
    squares, rising. A resolution is for pictures up to the middle between its area and the next one's; the last is for
    all larger ones. Features are sines, then cosines, of the column, then of the row (Esser et al. 2024, arXiv
    2403.03206, section 5.3.2). Only rows and columns of the size are computed, on the device, which is not waited for.
    """
    patches = size[0] * size[1]
    bounds = ((side, (side**2 + larger**2) // 2) for side, larger in pairwise(sides))
    chosen = next((side for side, bound in bounds if patches <= bound), sides[-1])
    side = max(int(_MARGIN * chosen), *size)
    exact = torch.float32 if device.type == "mps" else torch.float64  # which mps has not
    rows, columns = (
        _waves((line.to(exact) - (side - chosen) / 2) * (_SPAN / chosen), features // 4)
        for line in _lines(side, size, torch.full((1, 2), -1.0, device=device) if corners is None else corners)
    )
    across, down = columns[:, None].expand(-1, size[0], -1, -1), rows[:, :, None].expand(-1, -1, size[1], -1)
    return torch.cat([across, down], dim=-1).flatten(1, 2)


def own_table(embedder: PatchEmbed) -> Tensor:
    """Return the table (S,S,F) of the model's file."""
    side = embedder.pos_embed_max_size
    table: Tensor = embedder.pos_embed.reshape(side, side, -1)
    return table


def check_reach(embedder: PatchEmbed, size: tuple[int, int], patch: int) -> None:
    """Raise DataError when ``size`` (height, width, in patches of ``patch`` pixels) is larger than the file's table."""
    if max(size) > embedder.pos_embed_max_size:
        reach, (height, width) = embedder.pos_embed_max_size * patch, (side * patch for side in size)
        message = f"a picture of {width}x{height} is too large for this model: its positions reach {reach} pixels"
        raise DataError(message, fix="use a smaller resolution, or a smaller max_bucket_reso")


def check_resolutions(datasets: Sequence[DatasetSpec], embedder: nn.Module, patch: int) -> None:
    """Raise DataError for every data set with sizes beyond the file's table, in patches of ``patch`` pixels.

    ``embedder`` may be on the meta device. Open-ended buckets (bucket_no_upscale) are known by their pictures only.
    """
    reach = isqrt(embedder.get_buffer("pos_embed").shape[1]) * patch
    numbered = enumerate(datasets, 1)
    problems = [_too_large(at, dataset, reach) for at, dataset in numbered if _longest_side(dataset) > reach]
    if problems:
        raise DataError.of(problems)


def random_corners(rate: float, rng: SampleRng) -> Tensor:
    """Return corners (B,2) for `crop`: anywhere for a share ``rate`` of the samples, the middle for the others."""
    chance, *corner = rng.uniform(3).unbind(1)
    return torch.where((chance < rate)[:, None], torch.stack(corner, dim=1), -1.0)


def crop(table: Tensor, size: tuple[int, int], corners: Tensor | None) -> Tensor:
    """Return positions (B,height·width,F) of a table (S,S,F) for ``size`` (height, width) in patches.

    ``corners`` (B,2), on the table's device: shares in [0, 1) of the free room above and to the left, negative for the
    middle; None lays every sample (B = 1) in the middle. The size may not exceed the table's.
    """
    corners = torch.full((1, 2), -1.0, device=table.device) if corners is None else corners
    rows, columns = _lines(table.shape[0], size, corners)
    return table[rows[:, :, None], columns[:, None, :]].flatten(1, 2)


@contextmanager
def laid_at(embedder: PatchEmbed, positions: Tensor, config: Config) -> Iterator[None]:
    """Give these positions (B or 1,height·width,F) to every call inside this context; afterwards the own are back.

    With ``cuda_graphs`` those of one shape always lie in the same place, which a recorded step reads again.
    """
    own: dict[str, Any] = vars(embedder)
    place = _kept_place(own, positions) if config[SpeedOptions].cuda_graphs else positions
    # the embedder asks itself for its positions: what an instance has goes before what its class has
    own["cropped_pos_embed"] = lambda _height, _width: place
    try:
        yield
    finally:
        del own["cropped_pos_embed"]


def _kept_place(own: dict[str, Any], positions: Tensor) -> Tensor:
    """Return the positions where the first of their shape lay: in memory that an embedder keeps as its own."""
    places: dict[object, Tensor] = own.setdefault("laid_positions", {})
    key = (positions.shape, positions.dtype, positions.device)
    place = places[key] = places[key].copy_(positions) if key in places else positions.clone()
    return place


def _lines(side: int, size: tuple[int, int], corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (B,height) and columns (B,width) that a size has in a table of this side."""
    rows, columns = (
        _start(share, side - length)[:, None] + torch.arange(length, device=corners.device)
        for share, length in zip(corners.unbind(1), size, strict=True)
    )
    return rows, columns


def _waves(places: Tensor, count: int) -> Tensor:
    """Return sines, then cosines (…,2·count), float32, of places (…) with ``count`` wavelengths."""
    waves = _LONGEST ** -(torch.arange(count, dtype=places.dtype, device=places.device) / count)
    angles = places[..., None] * waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def _longest_side(dataset: DatasetSpec) -> int:
    """Return the longest side that pictures of a data set can have, in pixels; 0 where buckets are open-ended."""
    if not dataset.enable_bucket:
        return max(dataset.resolution)
    if dataset.bucket_no_upscale:
        return 0
    (smallest, largest), steps = dataset.bucket_bounds, dataset.bucket_reso_steps
    area = dataset.resolution[0] * dataset.resolution[1]
    widest = min(largest, area // max(smallest, steps) // steps * steps)
    return max(widest, isqrt(area) // steps * steps)


def _too_large(number: int, dataset: DatasetSpec, reach: int) -> Problem:
    place = dataset.subsets[0].place if dataset.subsets else ""
    width, height = dataset.resolution
    what, fix = f"the resolution {width}x{height} is", "use a smaller resolution"
    if dataset.enable_bucket:
        what, fix = f"buckets of up to {_longest_side(dataset)} pixels are", f"{fix}, or a smaller max_bucket_reso"
    message = f"data set {number}: {what} too large for this model: its positions reach {reach} pixels"
    return Problem(message, place, fix)


def _start(share: Tensor, room: int) -> Tensor:
    """Return the first row or column (B) with ``room`` others to choose from."""
    return torch.where(share < 0, room // 2, (share * (room + 1)).floor().clamp(max=room)).long()
