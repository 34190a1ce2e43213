"""The LoRA that comes nearest to a module of another network: its change of the weight, by its largest values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.errors import DataError, LoracoreError
from loracore.networks.adapter import Adapter
from loracore.networks.changed_weight import ChangedWeight
from loracore.networks.network import naming
from loracore.networks.rates import is_text
from loracore.types import LoraTarget, Models, Part
from loracore.weights.convert.lora_modules import Factors
from loracore.weights.extract.layer_weights import in_file, read_weights, weight_paths
from loracore.weights.extract.range_finder import largest, squared_norms
from loracore.weights.extremes import is_finite
from loracore.weights.factors import block_diagonal
from loracore.weights.layout import PartNames
from loracore.weights.network_file import NetworkFile
from loracore.weights.shares import Shares
from loracore.weights.unwritten_parts import how_to_write


@dataclass(frozen=True, eq=False, slots=True)
class BaseWeights:
    """The base model's own weights, for changes that depend on them; none of them without a base model."""

    config: Config
    names: Mapping[str, PartNames]
    paths: Mapping[str, Sequence[str]]  # by target

    @staticmethod
    def of(hook: pluggy.HookRelay, config: Config, models: Models, targets: Sequence[LoraTarget]) -> BaseWeights:
        """Return where the weights of the targets' layers are."""
        text: frozenset[Part] = frozenset({"text"} if models.text else ())
        given = config[ModelOptions].pretrained_model_name_or_path is not None
        names = hook.weight_names(parts=text | {"denoiser"}, config=config) if given else {}
        return BaseWeights(config, names, weight_paths(models, targets))

    def read(self, target: LoraTarget) -> list[Tensor]:
        """Return the weight of each layer in float32; raises LoracoreError where it is not to be had."""
        if target.part in self.names:
            return read_weights(target, self.paths[target.key], self.names[target.part], "base model")
        message = f"{target.key}: what it changes depends on the base model's weight"
        fix = "give --pretrained_model_name_or_path"
        if self.names and is_text(target.part):
            fix = how_to_write(self.config)
        raise LoracoreError(message, fix=fix)


@dataclass(frozen=True, eq=False, slots=True)
class Nearest:
    """How modules of a file are brought to LoRA of one rank."""

    hook: pluggy.HookRelay
    config: Config
    file: NetworkFile
    base: BaseWeights
    rank: int
    shares: Shares

    def _adapter(self, target: LoraTarget, names: Mapping[str, str]) -> Adapter:
        """Return the module as its own network has it; raises DataError for tensors that no network here knows."""
        found = self.file.read(list(names.values()))
        tensors = {kind: found[name] for kind, name in names.items()}
        with torch.random.fork_rng(devices=[]):  # what adapters start from is drawn, and then replaced
            built: Adapter | None = self.hook.build_adapter(target=target, weights=tensors, config=self.config)
        if built is None:
            message, fix = "this network leaves the module out", "give the --network_module of its training"
            raise DataError(message, where=str(self.file.path), fix=fix)
        adapter = built.to_empty(device="cpu")
        adapter.load_file_tensors(tensors)
        return adapter

    @torch.no_grad()
    def factors(self, target: LoraTarget, names: Mapping[str, str], *, each: bool) -> Factors:
        """Return the nearest pair; with ``each`` every layer of a fused target has one of this rank for itself."""
        with naming(target.key, str(self.file.path)):
            adapter = self._adapter(target, names)
        weights = [layer.weight.detach() for layer in target.layers]
        if _needs_weight(adapter):
            weights = self.base.read(target)
        changes = [adapter.weight_change(index, weights).float() for index in range(len(target.layers))]
        rows = [in_file(target, [change]) for change in changes]
        wholes = rows if each else [torch.cat(rows)]
        pairs = [self._pair(target, whole) for whole in wholes]
        shape = target.layers[0].weight.shape
        norms = [squared_norms(whole, up, down) for whole, (up, down) in zip(wholes, pairs, strict=True)]
        self.shares.note(target.key, sum(one for one, _ in norms), sum(other for _, other in norms))
        downs = torch.cat([down for _, down in pairs]).reshape(-1, *shape[1:])
        ups = [up for up, _ in pairs]
        return Factors(downs, ups[0] if len(ups) == 1 else block_diagonal(ups), 1.0)

    def _pair(self, target: LoraTarget, change: Tensor) -> tuple[Tensor, Tensor]:
        if not is_finite(change):
            message, fix = f"{target.key}: its change is not finite", "its training broke down: use an earlier save"
            raise DataError(message, where=str(self.file.path), fix=fix)
        rank = min(self.rank, *change.flatten(1).shape)
        return largest(change, rank).factors(rank)


def _needs_weight(adapter: Adapter) -> bool:
    return isinstance(adapter, ChangedWeight) and adapter.change.needs_weight
