"""Rows of the weight, rotated in several stages between which they change places (BOFT, Liu et al. 2023)."""

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

_TITLE = TITLES["boft"]


class ButterflyChange(WeightChange):
    """Rₘ · … · R₁ · W - W: butterfly factors, each of the same number of rotations (arXiv 2311.06243, section 4).

    Blocks are (stages, count, size, size), where ``count`` is a power of two and ``size`` even.
    """

    needs_weight = True

    def __init__(
        self, place: Place, blocks: tuple[int, int, int, int], constraint: float, *, rescaled: bool = False
    ) -> None:
        super().__init__()
        self.rotation = Rotation(place, blocks, constraint, rescaled=rescaled)

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> ButterflyChange:
        """Return a change of a file's sizes; raises DataError when they do not fit the place."""
        stages, count, rows, columns = shape_in_file(tensors, BLOCKS, 4)
        square = rows == columns and rows % 2 == 0 and count * rows == place.outputs
        if not square or place.outputs % (2 ** (stages - 1) * rows):
            message = f"{BLOCKS} has shape {[stages, count, rows, columns]} for a layer of {place.outputs} outputs"
            raise DataError(message, fix="the file belongs to another model")
        rescaled = has_rescale(tensors, place)
        check_names(tensors, {BLOCKS, RESCALE} if rescaled else {BLOCKS}, _TITLE, OTHER_FILE)
        return ButterflyChange(place, (stages, count, rows, columns), 0.0, rescaled=rescaled)

    def forward(self, weight: Tensor | None) -> Tensor:
        """Return the change (outputs, inputs[, k, k]) of this weight."""
        assert weight is not None
        rows = weight.flatten(1)
        matrices = self.rotation.matrices()
        for stage, blocks in enumerate(matrices):
            rows = _turned(rows, blocks, 2**stage * (blocks.shape[-1] // 2))
        return self.rotation.rescaled(rows.reshape(weight.shape)) - weight

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the blocks, and 0 as the constraint."""
        return self.rotation.file_tensors()

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the blocks; raises DataError when they do not fit."""
        self.rotation.load_file_tensors(tensors, _TITLE)

    @property
    def rank(self) -> int:
        """The size of a block."""
        return self.rotation.blocks.shape[-1]

    @property
    def alpha_value(self) -> float:
        """The constraint."""
        return self.rotation.constraint


def _turned(rows: Tensor, blocks: Tensor, stride: int) -> Tensor:
    """Return rows (outputs, columns) after one stage: blocks (count, n, n) turn rows that lie ``stride`` apart."""
    count, size, _ = blocks.shape
    paired = rows.reshape(-1, 2, stride, rows.shape[1]).transpose(1, 2).reshape(count, size, -1)
    turned = torch.einsum("bnm,bmc->bnc", blocks, paired)
    return turned.reshape(-1, stride, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
