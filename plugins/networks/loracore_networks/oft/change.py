"""Rows of the weight, rotated block by block (OFT, Qiu et al. 2023, arXiv 2306.07280)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from loracore import DataError
from loracore.networks.changed_weight import WeightChange
from loracore_networks.kinds import TITLES
from loracore_networks.matching import OTHER_FILE, check_names, shape_in_file
from loracore_networks.oft.rotation import BLOCKS, RESCALE, Rotation, has_rescale
from loracore_networks.place import Place

_TITLE = TITLES["oft"]


class OftChange(WeightChange):
    """R · W - W, with R block-diagonal: ``count`` rotations of outputs / count rows each."""

    needs_weight = True

    def __init__(self, place: Place, count: int, constraint: float, *, rescaled: bool = False) -> None:
        super().__init__()
        size = place.outputs // count
        self.rotation = Rotation(place, (count, size, size), constraint, rescaled=rescaled)

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> OftChange:
        """Return a change of a file's sizes; raises DataError when they do not fit the place."""
        count, rows, columns = shape_in_file(tensors, BLOCKS, 3)
        if rows != columns or count * rows != place.outputs:
            message = f"{BLOCKS} has shape {[count, rows, columns]} for a layer of {place.outputs} outputs"
            raise DataError(message, fix="the file belongs to another model")
        rescaled = has_rescale(tensors, place)
        check_names(tensors, {BLOCKS, RESCALE} if rescaled else {BLOCKS}, _TITLE, OTHER_FILE)
        return OftChange(place, count, 0.0, rescaled=rescaled)

    def forward(self, weight: Tensor | None) -> Tensor:
        """Return the change (outputs, inputs[, k, k]) of this weight."""
        assert weight is not None
        matrices = self.rotation.matrices()
        rows = weight.reshape(*matrices.shape[:2], -1)
        # The field multiplies by the transposed rotation: row m of a block is Σ over n of R[n, m] · row n.
        turned = torch.einsum("bnm,bnc->bmc", matrices, rows).reshape(weight.shape)
        return self.rotation.rescaled(turned) - weight

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the blocks, and 0 as the constraint."""
        return self.rotation.file_tensors()

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the blocks; raises DataError when they do not fit."""
        self.rotation.load_file_tensors(tensors, _TITLE)

    @property
    def rank(self) -> int:
        """The number of blocks: what ``network_dim`` means here."""
        return len(self.rotation.blocks)

    @property
    def alpha_value(self) -> float:
        """The constraint: what ``network_alpha`` means here."""
        return self.rotation.constraint
