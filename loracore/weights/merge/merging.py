"""A trained network merged into its base model: one checkpoint in the original layout, written tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pluggy
import torch
from torch import Tensor
from tqdm import tqdm

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.errors import DataError, Problem
from loracore.networks.rates import is_text, part_of
from loracore.types import DENOISER, LoraTarget, Models
from loracore.weights.casting import cast
from loracore.weights.extract.layer_weights import weight_paths
from loracore.weights.layout import FileTensor, PartNames
from loracore.weights.merge.changes import (
    Change,
    Weighted,
    changed_weight,
    file_adapter,
    file_targets,
    problems_of,
    under_keys_of,
)
from loracore.weights.network_file import open_network_file
from loracore.weights.unwritten_parts import how_to_write
from loracore.weights.writing import Piece, write_pieces


@dataclass(frozen=True, eq=False, slots=True)
class _Layer:
    """A layer of the base model as a target's: its place there, and its name in its part."""

    target: LoraTarget
    index: int
    names: tuple[str, ...]  # of the weights of all of the target's layers


@dataclass(frozen=True, eq=False, slots=True)
class _Merge:
    """What every tensor of the output is made of."""

    hook: pluggy.HookRelay
    config: Config
    networks: Sequence[Weighted]
    layers: Mapping[tuple[str, str], _Layer]  # by part and the weight's name in it
    dtype: torch.dtype | None  # of the output; None: as in the base model


def merge(
    hook: pluggy.HookRelay, config: Config, files: Sequence[tuple[Path, float]], path: Path, dtype: torch.dtype | None
) -> int:
    """Write base model + Σ ratio · network as one checkpoint and return how many modules are merged.

    ``files`` are the networks with their ratios; without a ``dtype``, tensors keep the base model's. At any time a few
    tensors are in memory. Raises LoracoreError, before anything is written, for networks that are not finite, do not
    fit, or train parts that are not written.
    """
    networks = [Weighted(open_network_file(file), ratio) for file, ratio in files]
    names: Mapping[str, PartNames] = hook.weight_names(parts=frozenset({"text", "vae", "denoiser"}), config=config)
    _check_parts(networks, names, config)
    text: frozenset[str] = frozenset({"text"} if any(map(is_text, names)) else ())
    models: Models = hook.load_models(
        parts=text | {"denoiser"}, device=torch.device("meta"), dtype=torch.float32, config=config
    )
    targets = file_targets(hook, models, config)
    networks = under_keys_of(networks, targets)
    problems = problems_of(hook, config, networks, targets, "give the base model of its training")
    if problems:
        raise DataError.of(problems)
    plan = _Merge(hook, config, networks, _layers(targets.values(), models), dtype)
    pieces = [piece for part, table in names.items() for piece in _pieces(plan, part, table)]
    metadata = _metadata(plan, hook.file_metadata(models=models, config=config), path)
    written = [name for piece in pieces for name in piece.names]
    write_pieces(path, tqdm(pieces, desc="merge", unit="tensor", disable=None), written, metadata)
    return len({key for network in networks for key in network.file.by_key})


def _layers(targets: Collection[LoraTarget], models: Models) -> dict[tuple[str, str], _Layer]:
    paths = weight_paths(models, targets)
    return {
        (target.part, name): _Layer(target, index, paths[target.key])
        for target in targets
        for index, name in enumerate(paths[target.key])
    }


# ---- before anything is written --------------------------------------------------------------------------------------


def _check_parts(networks: Sequence[Weighted], names: Mapping[str, PartNames], config: Config) -> None:
    """Raise DataError for networks that train parts which the checkpoint will not hold."""
    problems = []
    for network in networks:
        parts = {part_of(key) for key in network.file.by_key}
        lacking = sorted(part for part in parts - set(names) if part == DENOISER or is_text(part))
        if lacking:
            message = f"the file trains {', '.join(lacking)}, but only {', '.join(names)} are written"
            problems.append(Problem(message, str(network.file.path), how_to_write(config)))
    if problems:
        raise DataError.of(problems)


# ---- tensors ---------------------------------------------------------------------------------------------------------


def _pieces(plan: _Merge, part: str, table: PartNames) -> list[Piece]:
    """Return one piece for each tensor of the file, whose rows may be several of the module's."""
    groups: dict[str, dict[str, FileTensor]] = {}
    for name, place in table.original.items():
        groups.setdefault(place.name, {})[name] = place
    return [Piece((name,), partial(_made, plan, part, table, group)) for name, group in groups.items()]


@torch.no_grad()
def _made(plan: _Merge, part: str, table: PartNames, group: Mapping[str, FileTensor]) -> Mapping[str, Tensor]:
    # Tied tensors of a module (an embedding under two names) have the same rows of the file: the first one is written.
    rows = {place.part[0] if place.part is not None else 0: name for name, place in reversed(list(group.items()))}
    found = dict(table.read(list(rows.values()), torch.device("cpu")))
    changes = _changes(plan, part, found)
    parts = [group[name].to_file(_merged(plan, part, name, found, changes)) for _, name in sorted(rows.items())]
    place = next(iter(group.values()))
    return {place.name: torch.cat(parts) if len(parts) > 1 else parts[0]}


def _changes(plan: _Merge, part: str, names: Collection[str]) -> dict[str, list[Change]]:
    """Return what the networks change of these tensors, by the target's key: fused layers share it."""
    layers = (plan.layers[part, name] for name in names if (part, name) in plan.layers)
    return {
        target.key: [
            Change(file_adapter(plan.hook, plan.config, network.file, target, device="cpu"), network.ratio)
            for network in plan.networks
            if target.key in network.file.by_key
        ]
        for target in {layer.target.key: layer.target for layer in layers}.values()
    }


def _merged(
    plan: _Merge, part: str, name: str, found: Mapping[str, Tensor], changes: Mapping[str, Sequence[Change]]
) -> Tensor:
    """Return one of the module's tensors with the networks' changes, in the output's dtype.

    ``found`` holds it and those that stand in the same tensor of the file, as all layers of a target do.
    """
    base, layer = found[name], plan.layers.get((part, name))
    dtype, own = plan.dtype or base.dtype, () if layer is None else changes[layer.target.key]
    if layer is None or not own:
        return cast(base, dtype, f"{part}: {name}", "give --save_precision bf16 or float")
    weights = [found[each].float() for each in layer.names]
    return changed_weight(weights, layer.index, own, dtype, f"{part}: {name}")


# ---- header ----------------------------------------------------------------------------------------------------------


def _metadata(plan: _Merge, said: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the model specification (modelspec 1.0.1) of a merged model; nothing of the networks' training."""
    base = Path(plan.config[ModelOptions].pretrained_model_name_or_path or "").name
    now = datetime.now(timezone.utc).astimezone().replace(microsecond=0, tzinfo=None)
    of_base = {name: value for name, value in said.items() if name.startswith("modelspec.")}
    if "modelspec.architecture" in of_base:
        of_base["modelspec.architecture"] = of_base["modelspec.architecture"].removesuffix("/lora")
    return {
        **of_base,
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": path.stem,
        "modelspec.date": now.isoformat(),
        "modelspec.merged_from": ", ".join([base, *(network.file.path.name for network in plan.networks)]),
    }
