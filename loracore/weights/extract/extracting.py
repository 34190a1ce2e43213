"""A LoRA out of two models: the difference of their weights, as far as low-rank factors can say it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pluggy
import torch
from torch import Tensor
from tqdm import tqdm

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.errors import DataError, LoracoreError
from loracore.networks.adapter import Adapter
from loracore.networks.blocks import block_targets
from loracore.networks.rates import is_text, trains
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.types import LoraTarget, Models, Part
from loracore.weights.casting import cast
from loracore.weights.extract.extracted_header import Extraction, metadata
from loracore.weights.extract.layer_weights import file_weight, weight_paths
from loracore.weights.extract.range_finder import largest, squared_norms
from loracore.weights.hashed_writing import write_hashed
from loracore.weights.layout import PartNames
from loracore.weights.shares import Shares
from loracore.weights.unwritten_parts import unused_switches
from loracore.weights.writing import Piece


@dataclass(frozen=True, slots=True)
class Limits:
    """What of the difference goes into the file."""

    clamp_quantile: float  # of the factors' values; larger ones are cut to it
    min_diff: float  # text encoders none of whose weights differ by more are left out


@dataclass(frozen=True, eq=False, slots=True)
class _Pair:
    """Base and tuned model: what files call their tensors, and the module's names of each target's weights."""

    base: Mapping[str, PartNames]
    tuned: Mapping[str, PartNames]
    paths: Mapping[str, Sequence[str]]  # by key

    def difference(self, target: LoraTarget) -> Tensor:
        """Return tuned - base of the file's weight in float32; raises DataError for numbers that are not finite."""
        weights = [
            file_weight(target, self.paths[target.key], names[target.part], model)
            for names, model in ((self.tuned, "tuned_model"), (self.base, "pretrained_model_name_or_path"))
        ]
        return weights[0] - weights[1]


@dataclass(eq=False, slots=True)
class Extracted:
    """What an extraction tells; complete when the file is written."""

    modules: int = 0
    notes: list[str] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)


def extract(
    hook: pluggy.HookRelay, config: Config, tuned: str, output: tuple[Path, torch.dtype], limits: Limits
) -> Extracted:
    """Write the LoRA that turns the base model into the ``tuned`` one, module by module, and return what it keeps.

    ``output`` is the file with its precision. Ranks are those that a new LoRA with this config would have. Raises
    LoracoreError for models of other sizes, numbers that are not finite, and models that do not differ.
    """
    path, dtype = output
    other = config.with_table(replace(config[ModelOptions], pretrained_model_name_or_path=tuned))
    parts: frozenset[Part] = frozenset({"text", "denoiser"})
    base, theirs = (hook.weight_names(parts=parts, config=one) for one in (config, other))
    both = [part for part in base if part in theirs]
    text: frozenset[Part] = frozenset({"text"} if any(map(is_text, both)) else ())
    models: Models = hook.load_models(
        parts=text | {"denoiser"}, device=torch.device("meta"), dtype=torch.float32, config=config
    )
    every: Sequence[LoraTarget] = hook.lora_targets(models=models, config=config)
    targets = block_targets(every, models, config)
    pair = _Pair(base, theirs, weight_paths(models, targets))
    ranks = {target.key: rank for target in targets if (rank := _rank(hook, target, config))}
    chosen = [target for target in targets if target.part in both and target.key in ranks]
    _check_layers(pair, chosen, config.place("tuned_model"))
    found = Extracted()
    if not text:
        found.notes.append(_without_text(config))
    chosen = _without_equal_text(pair, chosen, limits, found)
    header = metadata(
        Extraction(config, tuned, path, list(ranks.values())), hook.file_metadata(models=models, config=config)
    )
    names = [f"{target.key}.{kind}" for target in chosen for kind in (ALPHA, DOWN, UP)]
    progress = tqdm(chosen, desc="extract", unit="module", disable=None)
    write_hashed(path, _pieces(pair, progress, ranks, (limits, dtype), found), names, lambda _: header)
    return found


def _rank(hook: pluggy.HookRelay, target: LoraTarget, config: Config) -> int:
    """Return the rank of a target, at most its weight's; 0 leaves it out. Raises LoracoreError for other networks."""
    if target.rank == 0 or not trains(target.part, config):
        return 0
    adapter: Adapter | None = hook.build_adapter(target=target, weights=None, config=config)
    if adapter is None:
        return 0
    if set(adapter.file_tensors()) != {ALPHA, DOWN, UP}:
        fix = "leave out network_module and its options"
        raise LoracoreError("only plain LoRA can be extracted", where=config.place("network_module"), fix=fix)
    return min(adapter.rank, sum(len(layer.weight) for layer in target.layers), target.layers[0].weight[0].numel())


def _without_text(config: Config) -> str:
    """Return what is said when neither model gives text encoders: an option may be what they wait for."""
    switches = unused_switches(config)
    return "text encoders are not compared" + (f" (they are with {', '.join(switches)})" if switches else "")


def _check_layers(pair: _Pair, targets: Iterable[LoraTarget], where: str) -> None:
    """Raise DataError when the tuned model lacks layers of the base model: it has another size."""
    lacking = [
        path for target in targets for path in pair.paths[target.key] if path not in pair.tuned[target.part].original
    ]
    if lacking:
        message = f"{len(lacking)} layers of the base model are missing in the tuned one, for example '{lacking[0]}'"
        raise DataError(message, where=where, fix="give two models of the same kind and size")


def _without_equal_text(
    pair: _Pair, targets: Sequence[LoraTarget], limits: Limits, found: Extracted
) -> list[LoraTarget]:
    """Return the targets without those of text encoders when these are as good as equal."""
    text = [target for target in targets if is_text(target.part)]
    if not text or any(float(pair.difference(target).abs().max()) > limits.min_diff for target in text):
        return list(targets)
    found.notes.append(f"text encoders differ by at most {limits.min_diff:g} (min_diff): left out")
    return [target for target in targets if not is_text(target.part)]


def _pieces(
    pair: _Pair,
    targets: Iterable[LoraTarget],
    ranks: Mapping[str, int],
    form: tuple[Limits, torch.dtype],
    found: Extracted,
) -> Iterator[Piece]:
    """Give the tensors of the modules that differ; raises LoracoreError at the end when there are none."""
    equal = 0
    for target in targets:
        difference = pair.difference(target)
        if not difference.any():
            equal += 1
            continue
        tensors = _tensors(target.key, difference, ranks[target.key], form, found.shares)
        found.modules += 1
        yield Piece(tuple(tensors), lambda made=tensors: made)  # type: ignore[misc]  # bound now, not when called
    if not found.modules:
        fix = "give the base model of the tuned one, and both in the precision that they were saved in"
        raise LoracoreError("there is no difference between the two models", fix=fix)
    if equal:
        found.notes.append(f"{equal} modules are equal in both models: left out")


@torch.no_grad()
def _tensors(
    key: str, difference: Tensor, rank: int, form: tuple[Limits, torch.dtype], shares: Shares
) -> dict[str, Tensor]:
    """Return alpha = rank and both factors: up = U · S and down = Vh, large values cut."""
    limits, dtype = form
    up, down = largest(difference, rank).factors(rank)
    if limits.clamp_quantile < 1:
        bound = _quantile(torch.cat([up.flatten(), down.flatten()]), limits.clamp_quantile)
        up, down = up.clamp(-bound, bound), down.clamp(-bound, bound)
    shares.note(key, *squared_norms(difference, up, down))
    fix = "give --save_precision bf16 or float"
    factors = {f"{key}.{kind}": cast(one, dtype, key, fix) for kind, one in ((DOWN, down), (UP, up))}
    return {f"{key}.{ALPHA}": torch.tensor(float(rank), dtype=dtype), **factors}


def _quantile(values: Tensor, quantile: float) -> float:
    """Return the value that this share of the values does not exceed; torch's own stops at 16 million."""
    return abs(float(values.kthvalue(max(1, math.ceil(quantile * values.numel()))).values))
