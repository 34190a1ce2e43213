"""Several trained networks as one LoRA file: their ranks side by side, or the nearest LoRA of a lower rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pluggy
import torch
from torch import Tensor
from tqdm import tqdm

from loracore.config.config import Config
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.weights.casting import cast
from loracore.weights.hashed_writing import write_hashed
from loracore.weights.headers import Shape
from loracore.weights.merge.changes import Weighted
from loracore.weights.merge.joined_header import joined_metadata
from loracore.weights.merge.joined_modules import Readers, joined_shapes, readers_for
from loracore.weights.merge.low_rank import decomposed, is_low_rank, low_rank, stacked, truncated
from loracore.weights.network_file import open_network_file
from loracore.weights.shares import Shares
from loracore.weights.singular import Singular, of_change
from loracore.weights.writing import Piece

_KINDS = (ALPHA, DOWN, UP)  # in the order of their names, which is that of the format's own writers
_FIX = "give --save_precision bf16 or float, or smaller ratios"


@dataclass(frozen=True, slots=True)
class Method:
    """How modules are joined."""

    name: Literal["concat", "svd"] = "concat"
    rank: int = 0  # of svd
    conv_rank: int = 0  # of svd, for kernels above 1x1
    dtype: torch.dtype | None = None  # of the result; None: that of the files, float32 where they differ

    def limit(self, shape: Shape) -> int:
        """Return the rank that svd leaves to a change of this shape."""
        return self.conv_rank if max(shape[2:], default=1) > 1 else self.rank


@dataclass(frozen=True, eq=False, slots=True)
class Joined:
    """What came of it; ``shares`` are filled when the file is written, and stay empty where nothing is left out."""

    modules: int
    shares: Shares = field(default_factory=Shares)


@dataclass(frozen=True, eq=False, slots=True)
class _Join:
    """What every module of the output is made of."""

    networks: Sequence[Weighted]
    method: Method
    readers: Readers
    shapes: Mapping[str, Shape]  # of the changes, by key
    shares: Shares


def join(
    hook: pluggy.HookRelay, config: Config, files: Sequence[tuple[Path, float]], path: Path, method: Method
) -> Joined:
    """Write one LoRA whose change is Σ ratio · change of the files, and return what came of it.

    Scales and ratios act once, on the change. At any time one module is in memory. Raises DataError, before anything is
    written, for files that are not finite, whose modules differ in shape, or whose changes cannot be added.
    """
    networks = [Weighted(open_network_file(file), ratio) for file, ratio in files]
    sources = [network.file for network in networks]
    readers = readers_for(sources, hook, config)
    shapes = joined_shapes(sources, readers, svd=method.name == "svd")
    plan = _Join(networks, method, readers, shapes, Shares())
    names = {key: tuple(f"{key}.{kind}" for kind in _KINDS) for key in sorted(shapes)}
    pieces = [Piece(own, partial(_made, plan, key)) for key, own in names.items()]
    progress = tqdm(pieces, desc="merge", unit="module", disable=None)
    written = [name for own in names.values() for name in own]
    write_hashed(path, progress, written, partial(joined_metadata, sources, path.stem))
    return Joined(len(shapes), plan.shares)


@torch.no_grad()
def _made(plan: _Join, key: str) -> Mapping[str, Tensor]:
    """Return the tensors of one module of the output."""
    own = [network for network in plan.networks if key in network.file.by_key]
    found = [(network.file.module(key), network.ratio) for network in own]
    dtype = plan.method.dtype or _common_dtype([tensors for tensors, _ in found])
    if plan.method.name == "concat":
        made = stacked([(low_rank(tensors), ratio) for tensors, ratio in found], dtype)
    else:
        singular = _decomposed(plan, key, found)
        rank = min(plan.method.limit(plan.shapes[key]), len(singular.values))
        squares = singular.values.square()
        plan.shares.note(key, float(squares.sum()), float(squares[rank:].sum()))
        made = truncated(singular, rank, dtype)
    return {f"{key}.{kind}": cast(made[kind].contiguous(), dtype, f"{key}.{kind}", _FIX) for kind in _KINDS}


def _decomposed(plan: _Join, key: str, found: Sequence[tuple[Mapping[str, Tensor], float]]) -> Singular:
    """Return the decomposition of what all files change of a module."""
    if all(is_low_rank(tensors) for tensors, _ in found):
        return decomposed([(low_rank(tensors), ratio) for tensors, ratio in found])
    whole = torch.zeros(plan.shapes[key])
    for network in plan.networks:
        if key in network.file.by_key:
            whole.add_(plan.readers.change(network.file, key), alpha=network.ratio)
    return of_change(whole)


def _common_dtype(modules: Sequence[Mapping[str, Tensor]]) -> torch.dtype:
    """Return the precision that all factors share, else float32; alpha is one number and says nothing."""
    dtypes = {tensor.dtype for tensors in modules for name, tensor in tensors.items() if name != ALPHA}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32
