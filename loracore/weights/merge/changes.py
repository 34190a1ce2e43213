"""What trained networks' files change of a base model's weights: whether they fit, and each weight with the changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.errors import DataError, Problem
from loracore.networks.adapter import Adapter
from loracore.networks.network import naming
from loracore.networks.spellings import misnamed
from loracore.types import LoraTarget, Models
from loracore.weights.casting import cast, too_large
from loracore.weights.convert.kohya_keys import known_keys
from loracore.weights.convert.lora_names import strangers
from loracore.weights.extremes import is_finite
from loracore.weights.network_file import NetworkFile

_SHOWN = 3


@dataclass(frozen=True, eq=False, slots=True)
class Weighted:
    """A network's file, and the strength it is merged with."""

    file: NetworkFile
    ratio: float


def under_keys_of(networks: Sequence[Weighted], targets: Mapping[str, LoraTarget]) -> list[Weighted]:
    """Return the networks with their modules under the targets' own keys, however the files spell them."""
    every = targets.values()
    return [replace(one, file=one.file.under(known_keys(one.file.shapes, every))) for one in networks]


@dataclass(frozen=True, eq=False, slots=True)
class Change:
    """What one file adds to the layers of a target."""

    adapter: Adapter
    ratio: float


def file_targets(hook: pluggy.HookRelay, models: Models, config: Config) -> dict[str, LoraTarget]:
    """Return every place that a file may have a module for, by key, those that the options leave out included.

    Fused layers have one adapter here: read so, a block-diagonal up factor makes the same change as a factor for each.
    """
    targets: Sequence[LoraTarget] = hook.lora_targets(models=models, config=config)
    return {target.key: replace(target, rank=None, alpha=None, needs_conv=False, separate=False) for target in targets}


def file_adapter(
    hook: pluggy.HookRelay, config: Config, file: NetworkFile, target: LoraTarget, *, device: torch.device | str
) -> Adapter:
    """Return a target's adapter with the file's tensors; on "meta" only whether they fit is looked at.

    The target's own layers may be on another device, "meta" included. Raises DataError when the tensors do not fit.
    """
    with naming(target.key, str(file.path)):
        return _file_adapter(hook, config, file.module(target.key), target, device)


def _file_adapter(
    hook: pluggy.HookRelay,
    config: Config,
    tensors: Mapping[str, Tensor],
    target: LoraTarget,
    device: torch.device | str,
) -> Adapter:
    with torch.random.fork_rng(devices=[]):  # what adapters start from is drawn, and then replaced
        built: Adapter | None = hook.build_adapter(target=target, weights=tensors, config=config)
    if built is None:
        raise DataError("this network leaves the module out", fix="give the network options of its training")
    on_meta = target.layers[0].weight.is_meta and torch.device(device).type != "meta"
    adapter = built.to_empty(device=device) if on_meta else built.to(device)
    adapter.load_file_tensors(tensors)
    return adapter


def problems_of(
    hook: pluggy.HookRelay,
    config: Config,
    networks: Sequence[Weighted],
    targets: Mapping[str, LoraTarget],
    fix: str,
) -> list[Problem]:
    """Return everything of the networks that is not finite, has no place in the model, or does not fit.

    ``targets`` are on the meta device; ``fix`` is the cure for modules without a place.
    """
    found = []
    for network in networks:
        own = [*_strangers(network.file, targets, fix), *network.file.not_finite()]
        found += own or list(_misfits(hook, config, network.file, targets))
    return found


def changed_weight(
    weights: Sequence[Tensor], index: int, changes: Sequence[Change], dtype: torch.dtype, name: str
) -> Tensor:
    """Return the weight of layer ``index`` with the changes, summed in float32, in ``dtype``.

    ``weights`` are those of all layers of the target, in float32. Raises LoracoreError for numbers that are too large.
    """
    merged = weights[index].clone()
    for change in changes:
        added = change.adapter.weight_change(index, weights)
        merged.add_(added, alpha=change.ratio)
    if not is_finite(merged) and is_finite(weights[index]):
        raise too_large(name, merged.dtype, "give smaller ratios")
    return cast(merged, dtype, f"{name} with these ratios", "give another precision (bf16 or float), or smaller ratios")


def _strangers(file: NetworkFile, targets: Mapping[str, LoraTarget], fix: str) -> Iterator[Problem]:
    unknown = set(file.by_key) - set(targets)
    if not unknown:
        return
    wrong = misnamed(file.shapes, str(file.path))
    if wrong is not None:
        yield wrong
        return
    message, hint = strangers(unknown, targets)
    yield Problem(message, str(file.path), f"{hint} {fix}" if hint else fix)


def _misfits(
    hook: pluggy.HookRelay, config: Config, file: NetworkFile, targets: Mapping[str, LoraTarget]
) -> Iterator[Problem]:
    """Give what does not fit, a few of it: the reason is mostly the same."""
    shown = 0
    for key in file.by_key:
        try:
            file_adapter(hook, config, file, targets[key], device="meta")
        except DataError as error:
            yield error.problems[0]
            shown += 1
        if shown == _SHOWN:
            return
