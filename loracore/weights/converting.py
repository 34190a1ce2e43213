"""LoRA files between kohya's names and those of diffusers and PEFT; what they change stays the same."""

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
from loracore.types import LoraTarget, Models, Part
from loracore.weights.diffusers_to_kohya import kohya_pieces
from loracore.weights.headers import BASE_VERSION
from loracore.weights.kohya_to_diffusers import diffusers_pieces
from loracore.weights.lora_names import Format, format_of, other_network, text_parts
from loracore.weights.network_file import NetworkFile, open_network_file
from loracore.weights.scales import SETTINGS
from loracore.weights.writing import Piece, write_pieces


@dataclass(frozen=True, slots=True)
class Output:
    """The file that is written."""

    path: Path
    dtype: torch.dtype | None  # None: as in the file that is read
    names: Format | None  # None: those that the file has not


def convert(hook: pluggy.HookRelay, config: Config, source: Path, output: Output) -> Format:
    """Write a LoRA file with other names, tensor by tensor, and return whose names it has.

    The base model's configuration is enough; without a base model the architecture's own sizes count. Raises
    LoracoreError for base models and other kinds of network, for modules that have no place in the model, for numbers
    that ``output.dtype`` cannot hold, and for files that have these names already.
    """
    file = open_network_file(source)
    whole = base_model(file.shapes, str(source))
    if whole is not None:
        raise DataError.of([whole])
    other = other_network(file.shapes)
    if other:
        fix = "only plain LoRA has the same meaning in both formats"
        raise DataError(f"this is {other}, which cannot be converted", where=str(source), fix=fix)
    denoiser: frozenset[Part] = frozenset({"denoiser"})
    models: Models = hook.load_models(
        parts=denoiser | text_parts(file.by_key), device=torch.device("meta"), dtype=torch.float32, config=config
    )
    folder: str = hook.weight_names(parts=denoiser, config=config)["unet"].diffusers
    targets: Sequence[LoraTarget] = hook.lora_targets(models=models, config=config)
    pieces, written = _pieces(file, targets, folder, output)
    metadata = _metadata(file, written, hook.file_metadata(models=models, config=config))
    every = [name for piece in pieces for name in piece.names]
    write_pieces(output.path, tqdm(pieces, desc="convert", unit="module", disable=None), every, metadata)
    return written


def _pieces(
    file: NetworkFile, targets: Sequence[LoraTarget], folder: str, output: Output
) -> tuple[list[Piece], Format]:
    by_key = {target.key: target for target in targets}
    found = format_of(file.shapes, by_key)
    if found is None:
        message = f"the names are neither kohya's nor diffusers', for example '{next(iter(file.shapes))}'"
        raise DataError(message, where=str(file.path), fix="give a LoRA file")
    if found == output.names:
        message = f"the file has {found}'s names already"
        raise LoracoreError(message, where=str(file.path), fix="leave out --to")
    if found == "kohya":
        return diffusers_pieces(file, by_key, folder, output.dtype), "diffusers"
    return kohya_pieces(file, targets, folder, output.dtype), "kohya"


def _metadata(file: NetworkFile, written: Format, said: Mapping[str, str]) -> dict[str, str]:
    """Return the file's own header with what names it has now; hashes and settings of the other names are left out."""
    kept = {name: value for name, value in file.metadata.items() if not name.startswith("sshs_") and name != SETTINGS}
    of_base = {name: said[name] for name in (BASE_VERSION, "modelspec.architecture") if name in said}
    implementation = "diffusers" if written == "diffusers" else said.get("modelspec.implementation")
    own = {} if implementation is None else {"modelspec.implementation": implementation}
    return {**of_base, **kept, **own, "format": "pt"}
