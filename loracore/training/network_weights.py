"""The tensors of the file that a run starts from (``network_weights``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import ModelOptions, NetworkOptions
from loracore.errors import DataError
from loracore.networks.rates import part_of, trains
from loracore.weights.headers import read_header
from loracore.weights.plain_reading import read_plainly


def read_network_weights(config: Config) -> tuple[Mapping[str, Tensor] | None, list[str]]:
    """Return the tensors of ``network_weights`` that this run trains, and notes on what is left out.

    Raises DataError for a file that cannot be read.
    """
    network = config[NetworkOptions]
    if network.network_weights is None:
        return None, []
    path, mapped = Path(network.network_weights), not config[ModelOptions].disable_mmap_load_safetensors
    try:
        tensors = load_file(path) if mapped else _read_plainly(path)
    except (OSError, SafetensorError) as error:
        message = f"network_weights cannot be read: {error}"
        raise DataError(message, where=str(path), fix="give a whole .safetensors file of a LoRA") from error
    own = {name: tensor for name, tensor in tensors.items() if trains(part_of(name), config)}
    if len(own) == len(tensors):
        return tensors, []
    return own, [f"network_weights: {len(tensors) - len(own)} tensors of parts that do not train are left out"]


def _read_plainly(path: Path) -> dict[str, Tensor]:
    header = read_header(path)
    return dict(read_plainly(header, header.shapes, torch.device("cpu")))
