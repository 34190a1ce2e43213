"""Trained networks that are merged into the base model before a run trains on it (``base_weights``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pluggy
import torch

from loracore.config.config import Config
from loracore.config.options import NetworkOptions
from loracore.errors import DataError, Problem
from loracore.networks.rates import is_text, part_of
from loracore.types import LoraTarget, Models
from loracore.weights.foreign_network import Modules, foreign
from loracore.weights.merge.changes import (
    Change,
    Weighted,
    changed_weight,
    file_adapter,
    file_targets,
    problems_of,
    under_keys_of,
)
from loracore.weights.network_file import NetworkFile, open_network_file

_BLOCK = 1 << 20  # bytes
_FIX = "base_weights are networks of the same architecture as the base model"


def open_base_weights(config: Config) -> list[Weighted]:
    """Return the files with their strengths; 1 where none is given. Raises DataError for files that are damaged."""
    options = config[NetworkOptions]
    ratios = [*options.base_weights_multiplier, *(1.0 for _ in options.base_weights)]
    files, problems = list[NetworkFile](), list[Problem]()
    for name in options.base_weights:
        try:
            files.append(open_network_file(Path(name)))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError.of(problems)
    return [Weighted(file, ratio) for file, ratio in zip(files, ratios, strict=False)]


def check_base_weights(hook: pluggy.HookRelay, config: Config) -> None:
    """Raise DataError with everything that is wrong with the files: not finite, without a place, of other shapes.

    The whole model is looked at, on the meta device: files may change parts that this run does not train.
    """
    networks = open_base_weights(config)
    if not networks:
        return
    models: Models = hook.load_models(
        parts=frozenset({"text", "denoiser"}), device=torch.device("meta"), dtype=torch.float32, config=config
    )
    targets = file_targets(hook, models, config)
    own: Mapping[str, str] = hook.file_metadata(models=models, config=config)
    networks = under_keys_of(networks, targets)
    others = [_of_another(network.file, targets, own) for network in networks]
    alike = [network for network, other in zip(networks, others, strict=True) if other is None]
    problems = [*filter(None, others), *problems_of(hook, config, alike, targets, _FIX)]
    if problems:
        raise DataError.of(problems)


@torch.no_grad()
def merge_base_weights(hook: pluggy.HookRelay, config: Config, models: Models) -> None:
    """Put the files' changes into the weights of loaded parts, one module after the other.

    Sums are made in float32 and kept in each weight's own precision and on its device. Raises LoracoreError for
    numbers beyond that precision.
    """
    networks = open_base_weights(config)
    if not networks:
        return
    targets = file_targets(hook, models, config)
    known = under_keys_of(networks, targets)
    for target in targets.values():
        own = [network for network in known if target.key in network.file.by_key]
        if own:
            _merge_into(hook, config, target, own)


def text_changes(config: Config) -> Sequence[tuple[str, float]]:
    """Return what tells this run's text encoders from the base model's own: digest and strength of files, in order.

    Files that leave the text encoders alone are not among them.
    """
    return [(_digest(network.file.path), network.ratio) for network in _of_text(config)]


def changes_text(config: Config) -> bool:
    """Tell whether this run's text encoders are not the base model's own; no file is read but for its header."""
    return any(_of_text(config))


def base_weights_lines(config: Config) -> list[str]:
    """Return a line for each file: its name, its strength, and how many modules it changes."""
    return [
        f"{network.file.path.name} x {network.ratio:g} ({len(network.file.by_key)} modules)"
        for network in open_base_weights(config)
    ]


def base_weights_metadata(config: Config) -> Mapping[str, str]:
    """Return what a saved file says of the networks that its base model was merged with; nothing without any."""
    networks = open_base_weights(config)
    if not networks:
        return {}
    return {
        "ss_base_weights": ", ".join(network.file.path.name for network in networks),
        "ss_base_weights_multiplier": ", ".join(f"{network.ratio:g}" for network in networks),
    }


def _of_text(config: Config) -> Iterator[Weighted]:
    for network in open_base_weights(config):
        if network.ratio and any(is_text(part_of(key)) for key in network.file.by_key):
            yield network


def _of_another(file: NetworkFile, targets: Mapping[str, LoraTarget], own: Mapping[str, str]) -> Problem | None:
    """Return the problem of a file that does not fit, and whose header names another architecture; else None."""
    message = foreign(Modules(file.shapes, file.by_key, targets), file.metadata, lambda: own)
    return None if message is None else Problem(message, str(file.path), _FIX)


def _merge_into(hook: pluggy.HookRelay, config: Config, target: LoraTarget, networks: Sequence[Weighted]) -> None:
    weights = [layer.weight.detach().float() for layer in target.layers]
    place = weights[0].device
    changes = [Change(file_adapter(hook, config, one.file, target, device=place), one.ratio) for one in networks]
    for index, (layer, path) in enumerate(zip(target.layers, target.paths, strict=True)):
        name = f"{target.part}: {path}.weight"
        # In a tensor of its own: the old one may be a file's memory, and other layers' changes may depend on it.
        layer.weight.data = changed_weight(weights, index, changes, layer.weight.dtype, name)


def _digest(path: Path) -> str:
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
