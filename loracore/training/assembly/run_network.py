"""The network of a run: which adapters stand in front of which layers, and what they start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import ModelOptions, NetworkOptions
from loracore.errors import LoracoreError
from loracore.memory.fitting import spare_activations
from loracore.memory.sharding import shard_blocks
from loracore.networks.adapter import Adapter
from loracore.networks.network import Entry, Network, build_network
from loracore.networks.rates import trains
from loracore.noise.rng import derive_seed
from loracore.speed.speed import Speed
from loracore.training.assembly.network_weights import placed_weights
from loracore.training.assembly.phases import free_memory
from loracore.training.assembly.plan import Plan
from loracore.training.assembly.run_targets import run_targets
from loracore.training.updates.moving import trained_dtype
from loracore.types import LoraTarget, Models, Part


def adapters_for(
    hook: pluggy.HookRelay,
    targets: Sequence[LoraTarget],
    config: Config,
    seed: int,
    weights: Mapping[str, Tensor] | None,
) -> Network:
    """Return the network over these targets; each adapter starts from (seed, key), whatever stands beside it."""

    def build(target: LoraTarget, own: Mapping[str, Tensor] | None) -> Adapter | None:
        _seed(derive_seed(seed, "init", target.key))
        adapter: Adapter | None = hook.build_adapter(target=target, weights=own, config=config)
        return adapter

    from_file = config[NetworkOptions].dim_from_weights
    chosen = [target for target in targets if trains(target.part, config) and (from_file or target.rank != 0)]
    source = config[NetworkOptions].network_weights or ""
    return build_network(chosen, build, weights if from_file else None, source)


def trained_kinds(config: Config) -> tuple[Part, ...]:
    """Return the parts whose layers may get adapters."""
    network = config[NetworkOptions]
    denoiser: tuple[Part, ...] = () if network.network_train_text_encoder_only else ("denoiser",)
    return denoiser if network.network_train_unet_only else (*denoiser, "text")


def started_network(plan: Plan, models: Models, targets: Sequence[LoraTarget]) -> tuple[Network, int]:
    """Return the network for these layers, and how many of its modules start from a file.

    Raises LoracoreError where it has no place in the model.
    """
    config, found = plan.config, 0
    weights = placed_weights(plan.hook, models, config, plan.weights, targets)
    network = adapters_for(plan.hook, targets, config, plan.seed, weights)
    if weights is not None:
        own = config[NetworkOptions]
        found = network.load(weights, own.network_weights or "", own_ranks=not own.dim_from_weights)
    if not network.entries:
        raise _no_place(targets)
    return network, found


def still_entries(plan: Plan) -> list[Entry]:
    """Return the adapters of cached text encoders, for the file alone; they hold none of the encoders' layers."""
    if not plan.text.still:
        return []
    parts = plan.text.still if plan.text.live else plan.text.cached  # one by one only where that cannot be helped
    models = plan.loading.models(*parts)  # some kinds of adapters start from the weights
    targets = [one for one in run_targets(plan.hook, models, plan.config) if one.part in plan.text.still]
    network = adapters_for(plan.hook, targets, plan.config, plan.seed, None)
    found = [Entry(replace(entry.target, layers=()), entry.adapter) for entry in network.entries]
    del models, targets, network
    free_memory(plan.config)
    return found


def attach(plan: Plan, network: Network, models: Models, speed: Speed) -> None:
    """Put the network in front of the models' layers, ready to train."""
    network.modules.to(plan.processes.device, trained_dtype(plan.config[ModelOptions]))
    network.modules.train()
    speed.prepare(models)
    spare_activations(models, plan.config)
    if plan.processes.sharding is not None:
        shard_blocks(models, plan.processes.device, plan.processes.count, plan.processes.sharding)
    network.attach(models.together)


def _seed(seed: int) -> None:
    """Seed what adapters may draw from, on the CPU and on a card that is there."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # for every kind of card that is not there, the other formats a stack: half a second for a large network
        torch.default_generator.manual_seed(seed)


def _no_place(targets: Sequence[LoraTarget]) -> LoracoreError:
    message = "the network has no place in this model"
    if targets and all(target.rank == 0 for target in targets):
        message = "the options leave out every layer of this model that could be trained"
        return LoracoreError(message, where="--network_args", fix="train more blocks, or give a rank above 0")
    return LoracoreError(message, where="--network_module", fix="look at `loracore targets`")
