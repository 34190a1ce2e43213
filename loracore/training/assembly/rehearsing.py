"""The whole network built on the meta device, so that what cannot work is said before anything is encoded."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

import torch

from loracore.collector import collecting_later
from loracore.config.options import TrainingOptions
from loracore.config.prompts.wanted import wanted_prompts
from loracore.config.updates.advice import advice
from loracore.config.updates.optimizer_arguments import finds_own_rates
from loracore.errors import ConfigError
from loracore.memory.fitting import unneeded
from loracore.networks.idle_ranks import idle_rank_notes
from loracore.networks.network import Network
from loracore.networks.rates import parameter_groups, part_of, still_groups
from loracore.speed.speed import check_speed, speed_notes
from loracore.training.assembly.plan import Plan
from loracore.training.assembly.run_network import started_network, trained_kinds
from loracore.training.assembly.run_targets import run_targets
from loracore.training.assembly.spared_parts import perhaps_spared
from loracore.training.assembly.text_split import check_text_cache, split_notes, split_text
from loracore.training.results.disk_space import check_room
from loracore.training.updates.moving import check_fused, try_moving
from loracore.types import Part
from loracore.weights.merge.base_weights import base_weights_lines, check_base_weights

#: A run loads all of them, one phase after the other, but for what its caches spare it.
ALL_PARTS: frozenset[Part] = frozenset({"text", "vae", "denoiser"})


@collecting_later()  # the libraries of the model are imported here
def rehearse(plan: Plan) -> Plan:
    """Return the plan with what was noticed, and with the text encoders that have to encode in every step.

    Raises LoracoreError for model files that cannot be loaded, starting weights that do not fit, optimizers that cannot
    be made, and networks that have nothing to train.
    """
    config = plan.config
    try_moving(config[TrainingOptions])
    check_fused(config[TrainingOptions], plan.processes)
    spared = perhaps_spared(config)
    plan.hook.check_models(parts=ALL_PARTS - spared, config=config)
    check_base_weights(plan.hook, config)
    loading = replace(plan.loading, device=torch.device("meta"))
    models = loading.models(*trained_kinds(config))
    network, found = started_network(plan, models, run_targets(plan.hook, models, config))
    if plan.processes.main:
        check_room(network, config)
    _check_rates(plan, network)
    check_speed(config, sharded=plan.processes.in_step, draws=network.draws)
    adapted = {entry.target.part for entry in network.entries}
    _check_placed(adapted & models.placed)
    encoders, started = tuple(models.text), {part_of(name) for name in plan.weights or ()}
    split = split_text(encoders, network, config, started)
    check_text_cache(split, encoders, network, config)
    notes = [*plan.notes, *_advice(plan, network), *split_notes(split)]
    notes += speed_notes(config, plan.processes.device, models)
    if plan.weights is not None and found < len(network.entries):
        notes.append(f"network_weights knows {found} of the {len(network.entries)} modules; the others start fresh")
    return replace(plan, text=split, prompts=wanted_prompts(config), notes=notes, unchecked=spared)


def _check_rates(plan: Plan, network: Network) -> None:
    """Raise ConfigError where nothing of the network would move."""
    config = plan.config
    if not parameter_groups(network, config):
        message = "nothing is trained: the learning rate of every part that trains is 0"
        given = next((name for name in ("unet_lr", "text_encoder_lr") if config.given(name)), "learning_rate")
        raise ConfigError(message, where=config.place(given), fix="give a learning rate above 0")


def _check_placed(elsewhere: AbstractSet[Part]) -> None:
    """Raise ConfigError for parts that are adapted, but that an option puts on a device of their own."""
    if elsewhere:
        names = ", ".join(sorted(elsewhere))
        message = f"the network has adapters for {names}, which an option puts on a device of its own"
        fix = "adapters are on the training device: leave out that option, or the modules of this part"
        raise ConfigError(message, where="--network_module", fix=fix)


def _advice(plan: Plan, network: Network) -> Iterator[str]:
    """Give notes on options that mean little, or something else, in this run."""
    training = plan.config[TrainingOptions]
    yield from (f"merged into the base model: {line}" for line in base_weights_lines(plan.config))
    still = still_groups(network, plan.config)
    if still:
        yield f"{', '.join(still)}: learning rate 0, kept as they start"
    yield from idle_rank_notes(network)
    yield from unneeded(plan.config, plan.processes.device)
    yield from advice(training)
    if plan.processes.count == 1 and plan.config.given("ddp_timeout"):
        yield "ddp_timeout has no effect: there is one process"
    if finds_own_rates(training) and any(entry.target.lr is not None for entry in network.entries):
        yield "learning rates of single parts or blocks are without effect: Adafactor finds its own"
