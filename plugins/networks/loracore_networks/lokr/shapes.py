"""The shapes of a LoKr's tensors: designed by a run's options, or found in a file."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from loracore import DataError
from loracore_networks.factorization import two_factors
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.matching import check_file, shape_in_file
from loracore_networks.place import Place

W1, W1_A, W1_B = "lokr_w1", "lokr_w1_a", "lokr_w1_b"
W2, W2_A, W2_B, T2 = "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"

Shapes = dict[str, tuple[int, ...]]


def designed_shapes(place: Place, rank: int, options: LokrOptions, *, tucker: bool) -> Shapes:
    """Return the shapes of a new LoKr; a factor half as small as the rank is no low-rank pair but whole."""
    rows, columns = two_factors(place.outputs, options.factor), two_factors(place.inputs, options.factor)
    if options.unbalanced_factorization:
        rows = (rows[1], rows[0])
    first, second = (rows[0], columns[0]), (rows[1], columns[1])
    whole = options.full_matrix or not options.decompose_both or rank >= max(first) / 2
    shapes: Shapes = {W1: first} if whole else {W1_A: (first[0], rank), W1_B: (rank, first[1])}
    if options.full_matrix or rank >= max(second) / 2:
        return {**shapes, W2: (*second, *place.kernel)}
    if tucker:
        return {**shapes, T2: (rank, rank, *place.kernel), W2_A: (rank, second[0]), W2_B: (rank, second[1])}
    area = place.columns // place.inputs
    return {**shapes, W2_A: (second[0], rank), W2_B: (rank, second[1] * area)}


def shapes_of_file(place: Place, tensors: Mapping[str, Tensor], title: str) -> Shapes:
    """Return the shapes of a file's tensors; raises DataError when they make no change of this place's weight."""
    area = place.columns // place.inputs
    shapes, (rows, columns) = _first(tensors)
    if place.outputs % rows or place.inputs % columns:
        raise _misfit(place, rows, columns)
    second = (place.outputs // rows, place.inputs // columns)
    if W2 in tensors:
        shapes[W2] = (*second, *place.kernel)
    elif T2 in tensors:
        rank = shape_in_file(tensors, W2_A, 2)[0]
        shapes |= {T2: (rank, rank, *place.kernel), W2_A: (rank, second[0]), W2_B: (rank, second[1])}
    else:
        rank = shape_in_file(tensors, W2_A, 2)[1]
        shapes |= {W2_A: (second[0], rank), W2_B: (rank, second[1] * area)}
    check_file(tensors, shapes, title)
    return shapes


def _first(tensors: Mapping[str, Tensor]) -> tuple[Shapes, tuple[int, int]]:
    """Return the shapes of the first factor's tensors, and its own."""
    if W1 in tensors:
        rows, columns = shape_in_file(tensors, W1, 2)
        return {W1: (rows, columns)}, (rows, columns)
    rows, rank = shape_in_file(tensors, W1_A, 2)
    columns = shape_in_file(tensors, W1_B, 2)[1]
    return {W1_A: (rows, rank), W1_B: (rank, columns)}, (rows, columns)


def _misfit(place: Place, rows: int, columns: int) -> DataError:
    message = f"{W1} has shape {[rows, columns]}, which divides no weight of shape {list(place.shape)}"
    return DataError(message, fix="the file belongs to another model")
