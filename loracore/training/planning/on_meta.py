"""The models and the network of a run on the meta device, put together as the run does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from loracore.memory.fitting import store_weights
from loracore.memory.planning.treatment import Treatment
from loracore.networks.network import Network
from loracore.networks.rates import ParameterGroup, parameter_groups, part_of
from loracore.speed.speed import Speed
from loracore.training.assembly.plan import Plan
from loracore.training.assembly.run_network import attach, started_network
from loracore.training.assembly.run_targets import run_targets
from loracore.training.assembly.text_split import split_text
from loracore.types import DENOISER, Models, Part

META = torch.device("meta")


@dataclass(frozen=True, eq=False, slots=True)
class OnMeta:
    """A run on the meta device, nothing of it checkpointed or swapped."""

    plan: Plan  # with what becomes of the text encoders
    models: Models  # every part
    network: Network

    @property
    def groups(self) -> Sequence[ParameterGroup]:
        """What the optimizer moves."""
        return parameter_groups(self.network, self.plan.config)

    def of(self, parts: Iterable[Part]) -> Models:
        """Return some parts of the models, named as `load_models` knows them."""
        names, models = set(parts), self.models
        text = {name: one for name, one in models.text.items() if names & {"text", name}}
        denoiser = {DENOISER} & set(models.blocks) if "denoiser" in names else set[str]()
        return replace(
            models,
            text=text,
            vae=models.vae if "vae" in names else None,
            denoiser=models.denoiser if "denoiser" in names else None,
            blocks={name: blocks for name, blocks in models.blocks.items() if name in denoiser | set(text)},
        )

    def on_device(self, models: Models) -> Iterable[Tensor]:
        """Give the weights of models that the training device holds: those that options put elsewhere are left out."""
        for name, module in models.modules().items():
            if name not in models.placed:
                yield from tensors_of(module)


def tensors_of(module: nn.Module) -> Iterable[Tensor]:
    """Give a module's parameters and buffers."""
    yield from module.parameters()
    yield from module.buffers()


def on_meta(plan: Plan) -> OnMeta:
    """Return a run's models and network without weights; adapters are not attached yet.

    Raises LoracoreError for models and networks that a run would refuse.
    """
    bare = replace(plan, config=Treatment().applied(plan.config), processes=replace(plan.processes, device=META))
    bare = replace(bare, processes=replace(bare.processes, sharding=None), unchecked=frozenset())
    loading = bare.loading
    models = loading.models("text", "vae", "denoiser")
    store_weights(models, loading.dtype, bare.config)
    network, _ = started_network(bare, models, run_targets(plan.hook, models, bare.config))
    started = {part_of(name) for name in plan.weights or ()}
    split = split_text(tuple(models.text), network, bare.config, started)
    return OnMeta(replace(bare, text=split), models, network)


def attach_on_meta(run: OnMeta) -> None:
    """Put the network in front of the models, ready to train; only what the optimizer moves asks for gradients."""
    config = run.plan.config.with_values({"torch_compile": False, "cuda_graphs": False})  # as eager as it gets
    attach(run.plan, run.network, run.models, Speed.of(config, META))
    moved = {id(parameter) for group in run.groups for parameter in group.parameters}
    for parameter in run.network.modules.parameters():
        parameter.requires_grad_(id(parameter) in moved)
