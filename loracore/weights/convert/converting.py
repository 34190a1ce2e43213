"""Files of networks between kohya's names and those of diffusers and PEFT; what they change stays the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy
import torch
from tqdm import tqdm

from loracore.config.config import Config
from loracore.errors import DataError, LoracoreError
from loracore.networks.spellings import base_model
from loracore.types import DENOISER, LoraTarget, Models, Part
from loracore.weights.convert.diffusers_to_kohya import kohya_pieces
from loracore.weights.convert.kohya_keys import known_keys
from loracore.weights.convert.kohya_modules import KohyaFile
from loracore.weights.convert.lora_names import Format, diffusers_places, format_of, other_network, text_parts
from loracore.weights.convert.nearest import BaseWeights, Nearest
from loracore.weights.convert.scales import SETTINGS
from loracore.weights.hashed_writing import write_hashed
from loracore.weights.headers import BASE_VERSION
from loracore.weights.network_file import NetworkFile, open_network_file
from loracore.weights.shares import Shares
from loracore.weights.writing import Piece, write_pieces


@dataclass(frozen=True, slots=True)
class Output:
    """The file that is written."""

    path: Path
    dtype: torch.dtype | None  # None: as in the file that is read
    names: Format | None  # None: those that the file has not
    new_rank: int | None = None  # of the LoRA that modules of other networks become


@dataclass(frozen=True, eq=False, slots=True)
class Converted:
    """What a conversion tells."""

    names: Format
    shares: Shares  # what is kept of modules of other networks


@dataclass(frozen=True, eq=False, slots=True)
class _Base:
    """The base model without its weights."""

    models: Models
    targets: Sequence[LoraTarget]
    folder: str  # the denoiser's in diffusers' layout


def convert(hook: pluggy.HookRelay, config: Config, source: Path, output: Output) -> Converted:
    """Write a network's file with other names, module by module, and return whose names it has.

    The base model's configuration is enough, but for changes that depend on its weights; without a base model the
    architecture's own sizes count. Raises LoracoreError for base models, for other networks than LoRA where no
    ``new_rank`` is given, for modules that have no place in the model, for numbers that are not finite or that
    ``output.dtype`` cannot hold, and for files that have these names already.
    """
    file = open_network_file(source)
    whole = base_model(file.shapes, str(source))
    if whole is not None:
        raise DataError.of([whole])
    bad = file.not_finite()
    if bad:
        raise DataError.of(bad)
    denoiser: frozenset[Part] = frozenset({"denoiser"})
    models: Models = hook.load_models(
        parts=denoiser | text_parts(file.by_key), device=torch.device("meta"), dtype=torch.float32, config=config
    )
    targets: Sequence[LoraTarget] = hook.lora_targets(models=models, config=config)
    base = _Base(models, targets, hook.weight_names(parts=denoiser, config=config)[DENOISER].diffusers)
    shares = Shares()
    weights = BaseWeights.of(hook, config, models, targets) if output.new_rank else BaseWeights(config, {}, {})
    nearest = Nearest(hook, config, file, weights, output.new_rank or 0, shares)
    pieces, written = _pieces(file, base, nearest, output)
    metadata = _metadata(file, written, hook.file_metadata(models=models, config=config))
    every = [name for piece in pieces for name in piece.names]
    progress = tqdm(pieces, desc="convert", unit="module", disable=None)
    if written == "kohya":
        write_hashed(output.path, progress, every, lambda _: metadata)
    else:  # those who read these names do not look for hashes
        write_pieces(output.path, progress, every, metadata)
    return Converted(written, shares)


def _pieces(file: NetworkFile, base: _Base, nearest: Nearest, output: Output) -> tuple[list[Piece], Format]:
    by_key = {target.key: target for target in base.targets}
    names = known_keys(file.shapes, base.targets)
    found = format_of(names.values(), by_key)
    if found is None:
        message = f"the names are neither kohya's nor diffusers', for example '{next(iter(file.shapes))}'"
        raise DataError(message, where=str(file.path), fix="give the file of a LoRA or of another network")
    if found == "diffusers" or _by_layer(names, base):
        _refuse_others(file)
        written = _other_than(found, output, file) if found == "diffusers" else "kohya"
        if found == "kohya" and output.names == "diffusers":
            message = "the file has kohya's prefix before diffusers' names"
            raise LoracoreError(message, where=str(file.path), fix="convert it with --to kohya first")
        _refuse_rank(file, output)
        return kohya_pieces(file, base.targets, base.folder, output.dtype), written
    kohya = KohyaFile.of(file, names, by_key)
    if output.names == "kohya":
        if not kohya.renamed and output.new_rank is None:
            _other_than("kohya", output, file)
        if not kohya.renamed and not kohya.others("kohya"):
            _refuse_rank(file, output)
        return kohya.kohya_pieces(nearest, output.dtype), "kohya"
    if not kohya.others("diffusers"):
        _refuse_rank(file, output)
    return kohya.diffusers_pieces(nearest, base.folder, output.dtype), "diffusers"


def _by_layer(names: Mapping[str, str], base: _Base) -> bool:
    """Tell whether kohya's prefix stands before single layers of what the original layout keeps fused."""
    keys = {target.key for target in base.targets}
    strange = {name.partition(".")[0] for name in names.values()} - keys
    return bool(strange) and strange <= set(diffusers_places(base.targets, base.folder))


def _other_than(found: Format, output: Output, file: NetworkFile) -> Format:
    """Return the names that the file has not; raises LoracoreError when those that it has are asked for."""
    if output.names == found:
        fix = "leave out --to"
        raise LoracoreError(f"the file has {found}'s names already", where=str(file.path), fix=fix)
    return "kohya" if found == "diffusers" else "diffusers"


def _refuse_others(file: NetworkFile) -> None:
    other = other_network(file.shapes)
    if other:
        fix = "only LoRA and DoRA can be converted from names of diffusers' layers"
        raise DataError(f"this is {other}, which cannot be converted", where=str(file.path), fix=fix)


def _refuse_rank(file: NetworkFile, output: Output) -> None:
    if output.new_rank is not None:
        message = "every module of the file keeps its own rank: --new_rank would have no effect"
        raise LoracoreError(message, where=str(file.path), fix="leave it out; loracore resize gives a LoRA other ranks")


def _metadata(file: NetworkFile, written: Format, said: Mapping[str, str]) -> dict[str, str]:
    """Return the file's own header with what names it has now; its hashes and settings of other names are left out."""
    kept = {name: value for name, value in file.metadata.items() if not name.startswith("sshs_") and name != SETTINGS}
    of_base = {name: said[name] for name in (BASE_VERSION, "modelspec.architecture") if name in said}
    implementation = "diffusers" if written == "diffusers" else said.get("modelspec.implementation")
    own = {} if implementation is None else {"modelspec.implementation": implementation}
    return {**of_base, **kept, **own, "format": "pt"}
