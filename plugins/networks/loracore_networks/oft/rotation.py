"""Trainable rotations of small blocks: Cayley's transform of skew-symmetric matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import DataError
from loracore.networks.spellings import ALPHA
from loracore_networks.matching import check_names, check_shapes, file_alpha
from loracore_networks.place import Place

BLOCKS, RESCALE = "oft_blocks", "rescale"


class Rotation(nn.Module):
    """Blocks B (…, n, n), and the rotations (I + Q)(I - Q)⁻¹ of Q = B - Bᵀ (Qiu et al. 2023, arXiv 2306.07280).

    The norm of all Q together is held at ``constraint`` · outputs, or not, with a constraint of 0. Readers of files
    disagree on that bound: LyCORIS multiplies by the outputs, ComfyUI does not. So files hold blocks that lie within
    it, and 0 as the constraint, which is the same for all. Files of others may have row factors too (``rescale``).
    """

    def __init__(self, place: Place, blocks: tuple[int, ...], constraint: float, *, rescaled: bool = False) -> None:
        super().__init__()
        self._outputs, self.constraint = place.outputs, constraint
        self.blocks = nn.Parameter(torch.zeros(blocks, device=place.device))
        ones = torch.ones(place.outputs, *(1 for _ in place.shape[1:]), device=place.device)
        self.rescale = nn.Parameter(ones) if rescaled else None

    def matrices(self) -> Tensor:
        """Return the rotations (…, n, n)."""
        blocks = self._within(self.blocks.float(), self.constraint)
        skew = blocks - blocks.mT
        unit = torch.eye(blocks.shape[-1], device=blocks.device)
        # (I + Q) and (I - Q)⁻¹ commute; I - Q can always be inverted, for the eigenvalues of Q are imaginary.
        rotations: Tensor = torch.linalg.solve(unit - skew, unit + skew)
        return rotations

    def rescaled(self, rows: Tensor) -> Tensor:
        """Return rotated rows (outputs, …) times their factors, if there are any."""
        return rows if self.rescale is None else rows * self.rescale.float().view(-1, *(1 for _ in rows.shape[1:]))

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the blocks within the bound, 0 as the constraint, and row factors, if there are any."""
        blocks = self._within(self.blocks, self.constraint)
        factors = {} if self.rescale is None else {RESCALE: self.rescale}
        return {BLOCKS: blocks, ALPHA: torch.tensor(0.0), **factors}

    @torch.no_grad()
    def load_file_tensors(self, tensors: Mapping[str, Tensor], title: str) -> None:
        """Take over a file's blocks; raises DataError when shapes differ or they lie outside the bound."""
        names = {BLOCKS} if self.rescale is None else {BLOCKS, RESCALE}
        check_names(tensors, names, title)
        check_shapes(tensors, {BLOCKS: self.blocks.shape})
        blocks = self._within(tensors[BLOCKS].float(), file_alpha(tensors, 0.0))
        norm = float((blocks - blocks.mT).norm()) / self._outputs
        if self.constraint and norm > self.constraint * 1.01:  # files in half precision round them
            message = f"the file's blocks turn by {norm:g}, this run's by {self.constraint:g} at most"
            raise DataError(message, fix=f"set the constraint to {norm:g} or more, or to 0")
        self.blocks.copy_(blocks)
        if self.rescale is not None:
            self.rescale.copy_(tensors[RESCALE].view_as(self.rescale))

    def _within(self, blocks: Tensor, constraint: float) -> Tensor:
        """Return the blocks, scaled down where the norm of their Q exceeds the bound."""
        if not constraint:
            return blocks
        bound = constraint * self._outputs
        norm = (blocks - blocks.mT).norm()
        within: Tensor = blocks * (bound / norm.clamp(min=bound))
        return within


def has_rescale(tensors: Mapping[str, Tensor], place: Place) -> bool:
    """Tell whether a file has row factors; raises DataError when they are not one for each row."""
    if RESCALE not in tensors:
        return False
    if tensors[RESCALE].numel() != place.outputs:
        message = f"{RESCALE} has shape {list(tensors[RESCALE].shape)} for {place.outputs} outputs"
        raise DataError(message, fix="the file belongs to another model")
    return True
