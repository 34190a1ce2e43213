"""A weight taken apart into magnitudes and directions: magnitude · (weight + low-rank change) / its norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from loracore import Config, DataError, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore.networks.masks import Dropouts
from loracore.networks.row_order import swap_halves
from loracore.networks.spellings import MAGNITUDE
from loracore_networks.dora.options import DoraOptions
from loracore_networks.kinds import TITLES
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_factors, run_dropouts
from loracore_networks.lora.tucker import TuckerAdapter
from loracore_networks.matching import check_names, check_shapes


class DoraChange(WeightChange):
    """Trainable factors and magnitudes: W' - W, where W' = m · (W + change) / ‖W + change‖ (eq. 5 of the paper).

    The norm is over everything but the inputs, m (1, inputs[, 1, 1]), or with ``on_output`` over each output row,
    m (outputs, 1[, 1, 1]). Gradients go through the norm; the paper's section 4.3 treats it as a constant to save
    memory, which here would be a few vectors beside a change that is made in full anyway.
    """

    needs_weight = True

    def __init__(self, target: LoraTarget, factors: LoraAdapter | TuckerAdapter, *, on_output: bool) -> None:
        super().__init__()
        self.factors = factors
        self._on_output = on_output
        self._rows = [len(layer.weight) for layer in target.layers]
        self.magnitude = nn.Parameter(self._norm(_weight_in_file(target)))

    def forward(self, weight: Tensor | None) -> Tensor:
        """Return W' - W for the file's weight W (outputs, inputs[, k, k])."""
        assert weight is not None
        layers = torch.split(weight, self._rows)
        changed = weight + torch.cat([self.factors.weight_change(index, layers) for index in range(len(layers))])
        return changed * (self.magnitude.float() / self._norm(changed)) - weight

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the factors' tensors and the magnitudes."""
        return {**self.factors.file_tensors(), MAGNITUDE: self.magnitude}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over factors and magnitudes; raises DataError when names, shapes or the scale differ."""
        check_names(tensors, self.file_tensors(), TITLES["dora"])
        if tensors[MAGNITUDE].shape != self.magnitude.shape and _is_on_output(tensors) != self._on_output:
            message = f"{MAGNITUDE} has shape {list(tensors[MAGNITUDE].shape)}, the other axis of the weight"
            fix = f"set wd_on_output = {str(not self._on_output).lower()}, or give --dim_from_weights"
            raise DataError(message, fix=fix)
        check_shapes(tensors, {MAGNITUDE: self.magnitude.shape})
        self.factors.load_file_tensors({name: one for name, one in tensors.items() if name != MAGNITUDE})
        with torch.no_grad():
            self.magnitude.copy_(tensors[MAGNITUDE])

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the up factor."""
        return self.factors.up_parameters()

    @property
    def rank(self) -> int:
        return self.factors.rank

    @property
    def alpha_value(self) -> float:
        return self.factors.alpha_value

    def _norm(self, weight: Tensor) -> Tensor:
        """Return the norms that belong to the magnitudes, in their shape; never zero, as pruned rows are."""
        axes = [axis for axis in range(weight.dim()) if axis != (0 if self._on_output else 1)]
        norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        return norms.clamp(min=torch.finfo(torch.float32).eps)


def build_dora(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> ChangedWeight | None:
    """Return the adapter of one target, or None when the options give it no rank.

    ``weights`` are a file's, which then says rank, alpha, and the axis of the magnitudes: also in runs of another
    network. The factors belong to the file's rows; ``ChangedWeight`` swaps the layer's halves and drops out.
    """
    if weights is None:
        on_output = config[DoraOptions].wd_on_output
    elif MAGNITUDE in weights:
        on_output = _is_on_output(weights)
    else:
        message = f"no {MAGNITUDE} but {sorted(weights)}: it is no DoRA"
        raise DataError(message, fix="give the network_module that the file was trained with")
    factors = build_factors(replace(target, swapped_halves=False), weights, config, Dropouts())
    if factors is None:
        return None
    return ChangedWeight(target, DoraChange(target, factors, on_output=on_output), run_dropouts(config))


def _is_on_output(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether a file's magnitudes belong to output rows: (outputs, 1[, 1, 1]), not (1, inputs[, 1, 1])."""
    shape = tensors[MAGNITUDE].shape
    return shape[0] > 1 or shape.numel() == 1


def _weight_in_file(target: LoraTarget) -> Tensor:
    """Return the weight of all layers as the file has it, float32, on the CPU unless it is on the meta device."""
    weights = [layer.weight.detach().float() for layer in target.layers]
    weights = [weight if weight.is_meta else weight.cpu() for weight in weights]
    return torch.cat([swap_halves(weight) if target.swapped_halves else weight for weight in weights])
