"""Every module that a run would train, computed on the meta device: no weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pluggy
import torch

from loracore.config.config import Config
from loracore.config.options import NetworkOptions
from loracore.networks.idle_ranks import has_idle_ranks
from loracore.networks.network import Entry
from loracore.networks.rates import learning_rate, parameter_groups, up_ratio
from loracore.training.assembly.network_weights import placed_weights, read_network_weights
from loracore.training.assembly.run_network import adapters_for, trained_kinds
from loracore.training.assembly.run_targets import run_targets


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One module of the network, as a file would hold it."""

    key: str
    layers: tuple[str, ...]
    part: str
    block: str | None
    rank: int
    alpha: float
    lr: float  # 0: not trained
    up_lr: float | None  # of the up factors, where LoRA+ gives them another one
    tensors: dict[str, list[int]]
    idle_ranks: bool  # whether a low-rank pair has more ranks than its weight


def list_targets(config: Config, plugins: pluggy.PluginManager) -> Sequence[TargetRow]:
    """Return the modules of the run that these options describe, in the order of the file."""
    hook = plugins.hook
    parts = frozenset(trained_kinds(config))
    models = hook.load_models(parts=parts, device=torch.device("meta"), dtype=torch.float32, config=config)
    targets = run_targets(hook, models, config)
    found, _ = read_network_weights(config)
    weights = placed_weights(hook, models, config, found, targets)
    network = adapters_for(hook, targets, config, 0, weights)
    if weights is not None:
        own = config[NetworkOptions]
        network.load(weights, own.network_weights or "", own_ranks=not own.dim_from_weights)
    parameter_groups(network, config)  # a run refuses what these cannot be made of
    return [_row(entry, config) for entry in network.entries]


def _row(entry: Entry, config: Config) -> TargetRow:
    target, adapter = entry.target, entry.adapter
    rate = 0.0 if target.expected_unused else learning_rate(target, config)
    ratio = up_ratio(target.part, config) if adapter.up_parameters() else None
    return TargetRow(
        key=target.key,
        layers=target.paths,
        part=target.part,
        block=target.block,
        rank=adapter.rank,
        alpha=adapter.alpha_value,
        lr=rate,
        up_lr=None if ratio is None else rate * ratio,
        tensors={name: list(tensor.shape) for name, tensor in adapter.file_tensors().items()},
        idle_ranks=has_idle_ranks(entry),
    )
