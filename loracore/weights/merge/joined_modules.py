"""The modules of several networks that become one LoRA: which there are, and whether their changes can be added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import NetworkOptions, PluginOptions
from loracore.errors import DataError, Problem
from loracore.networks.rates import is_text, part_of
from loracore.networks.spellings import misnamed
from loracore.types import LoraTarget, Models
from loracore.weights.convert.lora_names import other_network, strangers
from loracore.weights.extract.layer_weights import in_file
from loracore.weights.extremes import is_finite
from loracore.weights.headers import Shape
from loracore.weights.merge.changes import file_adapter, file_targets
from loracore.weights.merge.low_rank import change_shape, is_low_rank
from loracore.weights.network_file import NetworkFile
from loracore.weights.network_header import other_architecture

_SHOWN = 3
_MERGE_INTO = "merge it into its base model instead: give --pretrained_model_name_or_path"


@dataclass(frozen=True, eq=False, slots=True)
class Readers:
    """Who reads modules that are no LoRA: the run's network plugin, at the architecture's layers."""

    hook: pluggy.HookRelay
    config: Config
    targets: Mapping[str, LoraTarget] | None  # on the meta device; None: no architecture is named

    def shape(self, key: str) -> Shape:
        """Return the shape of the file's change of a target."""
        assert self.targets is not None
        layers = self.targets[key].layers
        return (sum(len(layer.weight) for layer in layers), *layers[0].weight.shape[1:])

    @torch.no_grad()
    def change(self, file: NetworkFile, key: str) -> Tensor:
        """Return what a module changes, as the file has it; raises DataError where it depends on the base weights."""
        assert self.targets is not None
        target = self.targets[key]
        adapter = file_adapter(self.hook, self.config, file, target, device="cpu")
        # Whatever depends on these weights becomes NaN.
        weights = [torch.full(layer.weight.shape, torch.nan) for layer in target.layers]
        change = in_file(target, [adapter.weight_change(index, weights) for index in range(len(weights))])
        if not is_finite(change):
            message = f"{key}: what this kind of network changes depends on the base model's weights"
            raise DataError(message, where=str(file.path), fix=_MERGE_INTO)
        return change


def readers_for(files: Sequence[NetworkFile], hook: pluggy.HookRelay, config: Config) -> Readers:
    """Return who reads these files' modules; layers are looked up where there are other kinds than LoRA.

    They are those of the base model that the first file fits.
    """
    plain = all(is_low_rank(_tails(file, key)) for file in files for key in file.by_key)
    if plain or config[PluginOptions].arch is None:
        return Readers(hook, config, None)
    sized = config.with_table(replace(config[NetworkOptions], network_weights=str(files[0].path)))
    models: Models = hook.load_models(
        parts=frozenset({"text", "denoiser"}), device=torch.device("meta"), dtype=torch.float32, config=sized
    )
    return Readers(hook, config, file_targets(hook, models, sized))


def joined_shapes(files: Sequence[NetworkFile], readers: Readers, *, svd: bool) -> dict[str, Shape]:
    """Return the shape of every module's change, by key.

    Raises DataError with everything that keeps the changes from being added.
    """
    problems, found = list[Problem](), dict[str, tuple[Shape, NetworkFile]]()
    for file in files:
        wrong = misnamed(file.shapes, str(file.path))
        own = [wrong] if wrong is not None else [*file.not_finite(), *_unreadable(file, readers, svd=svd)]
        problems += own or _mismatches(file, readers, found)
    if problems:
        raise DataError.of(problems)
    _check_same_model(files)
    return {key: shape for key, (shape, _) in found.items()}


def _mismatches(file: NetworkFile, readers: Readers, found: dict[str, tuple[Shape, NetworkFile]]) -> list[Problem]:
    """Note the shapes of a file's modules in ``found``, and return those that differ from an earlier file's."""
    problems = []
    for key in file.by_key:
        shape = _shape(file, key, readers)
        if shape is None:
            message = f"{key}: the shapes of its factors do not fit together"
            problems.append(Problem(message, str(file.path), "the file is damaged, or of another kind of network"))
            continue
        other, first = found.setdefault(key, (shape, file))
        if other != shape:
            message = f"{key} changes a weight of shape {list(shape)}, in {first.path} one of {list(other)}"
            problems.append(Problem(message, str(file.path), "give networks of the same architecture"))
    return problems[:_SHOWN]


def _shape(file: NetworkFile, key: str, readers: Readers) -> Shape | None:
    shapes = {kind: file.shapes[name] for kind, name in file.by_key[key].items()}
    return change_shape(shapes) if is_low_rank(shapes) else readers.shape(key)


def _unreadable(file: NetworkFile, readers: Readers, *, svd: bool) -> Iterator[Problem]:
    """Give the modules that are no LoRA and that nobody can read."""
    others = [key for key in file.by_key if not is_low_rank(_tails(file, key))]
    if not others:
        return
    where, kind = str(file.path), other_network(list(file.by_key[others[0]].values())) or "another kind"
    said = f"{len(others)} modules are no plain LoRA but of {kind}, for example {others[0]}"
    if not svd:
        yield Problem(said, where, "concat takes LoRA alone: give --method svd --new_rank N, or a base model")
    elif readers.targets is None:
        yield Problem(said, where, "what it changes is read at the model's layers: give --arch NAME")
    else:
        yield from _misfits(file, others, readers, readers.targets)


def _misfits(
    file: NetworkFile, keys: Sequence[str], readers: Readers, targets: Mapping[str, LoraTarget]
) -> Iterator[Problem]:
    """Give the modules without a place, else, of each kind of module, what is wrong with the first."""
    unknown = [key for key in keys if key not in targets]
    if unknown:
        message, hint = strangers(unknown, targets)
        yield Problem(message, str(file.path), hint or _MERGE_INTO)
        return
    for key in {_tails(file, key): key for key in reversed(keys)}.values():
        try:
            readers.change(file, key)
        except DataError as error:
            yield error.problems[0]


def _tails(file: NetworkFile, key: str) -> frozenset[str]:
    return frozenset(file.by_key[key])


def _check_same_model(files: Sequence[NetworkFile]) -> None:
    """Raise DataError for files of different models by their headers: text encoders may be all that they share.

    Where they share modules of a denoiser, whose shapes were compared, headers only spell one model in two ways.
    """
    for first, file in combinations(files, 2):
        if any(not is_text(part_of(key)) for key in first.by_key.keys() & file.by_key.keys()):
            continue
        other = other_architecture(file.metadata, first.metadata)
        if other is not None:
            message = f"the file is for '{other[0]}', {first.path} for '{other[1]}'"
            raise DataError(message, where=str(file.path), fix="give networks of the same architecture")
