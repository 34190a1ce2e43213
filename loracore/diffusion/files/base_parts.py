"""Where the parts of a base model come from: a checkpoint, a folder, the hub, or files of single parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.diffusion.files.folders import LocalFolder, ModelFolder, given_path, open_folder
from loracore.diffusion.files.foreign import ADAPTERS
from loracore.diffusion.files.parts import (
    EmptyParts,
    PartKind,
    Reading,
    Shapes,
    file_parts,
    folder_parts,
    standard_parts,
)
from loracore.diffusion.files.vae_parts import check_latents, lone_folder_part
from loracore.diffusion.files.weights import Weights, open_weights
from loracore.diffusion.options import VaeOptions
from loracore.errors import ConfigError, DataError, Problem

_log = logging.getLogger(__name__)
_TOKENS = "token_embedding.weight"
_NONE: Mapping[str, str | None] = MappingProxyType({})


class Checks(Protocol):
    """An architecture's module that knows its own models, from names and shapes."""

    def check_names(self, shapes: Shapes, path: Path) -> None:
        """Raise DataError for a checkpoint of another architecture."""

    def check_folder(self, folder: ModelFolder) -> None:
        """Raise DataError for a folder of another architecture."""


def found_parts(
    chosen: Sequence[PartKind],
    every: Sequence[PartKind],
    config: Config,
    checks: Checks,
    *,
    half_first: bool,
    any_size: bool,
    files: Mapping[str, str | None] = _NONE,
) -> EmptyParts:
    """Return the chosen parts of ``every``, empty: from files of their own, else from the base model.

    With ``any_size`` no base model at all means the architecture's own sizes. An optional part that is nowhere is left
    out. Raises LoracoreError as `separate_parts` and `base_parts` do.
    """
    own = separate_parts(chosen, every, config, files)
    rest = [kind for kind in chosen if kind.name not in own]
    if any_size and config[ModelOptions].pretrained_model_name_or_path is None:
        others = standard_parts(rest)
    else:
        others = base_parts(rest, config, checks, half_first=half_first)
    both = {**own, **others}
    return {kind.name: both[kind.name] for kind in chosen if kind.name in both}


def base_parts(kinds: Sequence[PartKind], config: Config, checks: Checks, *, half_first: bool) -> EmptyParts:
    """Return the parts of ``pretrained_model_name_or_path``, empty; an optional one that it lacks is left out.

    Raises LoracoreError when no model is given, for a foreign one, and for parts that it lacks.
    """
    options = config[ModelOptions]
    given = options.pretrained_model_name_or_path
    if given is None:
        message = "no base model is given"
        raise ConfigError(
            message, where="--pretrained_model_name_or_path", fix="give a checkpoint, a folder or a hub id"
        )
    path = given_path(given)
    if path.is_file():
        weights = open_file(path, options)
        checks.check_names(weights.shapes, path)
        return file_parts(kinds, weights)
    folder = open_folder(given)
    checks.check_folder(folder)
    return folder_parts(kinds, folder, _reading(options, half_first=half_first))


def open_file(path: Path, options: ModelOptions) -> Weights:
    """Return the weights of a file, read as the options ask; raises DataError when it cannot be."""
    return open_weights(path, allow_pickle=options.allow_pickle, mapped=not options.disable_mmap_load_safetensors)


def _reading(options: ModelOptions, *, half_first: bool) -> Reading:
    return Reading(options.allow_pickle, half_first, not options.disable_mmap_load_safetensors)


def separate_parts(
    chosen: Sequence[PartKind], every: Sequence[PartKind], config: Config, files: Mapping[str, str | None] = _NONE
) -> EmptyParts:
    """Return those of the chosen parts for which ``files`` names a file of their own, by option; empty.

    The VAE's is named by ``VaeOptions``, and may be a folder. Raises DataError, all at once, for files of another part
    of ``every``, telling which option is theirs.
    """
    named = {**files, "vae": config[VaeOptions].vae}
    given = {kind: path for kind in chosen if (path := named.get(kind.option)) is not None}
    folders = {kind: path for kind, path in given.items() if kind.group == "vae" and not given_path(path).is_file()}
    lone = {kind: path for kind, path in given.items() if kind not in folders}
    opened = {kind: open_file(given_path(path), config[ModelOptions]) for kind, path in lone.items()}
    strangers = [_stranger(kind, weights, every) for kind, weights in opened.items()]
    problems = [problem for problem in strangers if problem is not None]
    if problems:
        raise DataError.of(problems)
    found = {kind.name: file_parts([kind], weights)[kind.name] for kind, weights in opened.items()}
    found |= {
        kind.name: lone_folder_part(kind, path, _reading(config[ModelOptions], half_first=False))
        for kind, path in folders.items()
    }
    for kind, path in given.items():
        if kind.group == "vae":
            check_latents(kind, found[kind.name], path)
    return found


def tell_replaced(kinds: Sequence[PartKind], config: Config, files: Mapping[str, str | None] = _NONE) -> None:
    """Log each part that both the base model and a file of its own hold: the file wins."""
    base = config[ModelOptions].pretrained_model_name_or_path
    for kind in kinds:
        own = {**files, "vae": config[VaeOptions].vae}.get(kind.option)
        if own is not None and base is not None and _holds(base, kind, config):
            _log.warning("%s is given twice: %s (%s) wins over the one in %s", kind.label, own, kind.option, base)


def folder_beside(config: Config) -> ModelFolder:
    """Return the base model's folder; for a checkpoint the folder of its name beside it, which need not exist."""
    given = config[ModelOptions].pretrained_model_name_or_path or ""
    path = given_path(given)
    return LocalFolder(path.with_suffix("")) if path.is_file() else open_folder(given)


def _holds(base: str, kind: PartKind, config: Config) -> bool:
    path = given_path(base)
    if path.is_file():
        # Mapped whatever the options say: only names are wanted, and a pickle would be read whole.
        names = open_weights(path, allow_pickle=config[ModelOptions].allow_pickle, mapped=True).shapes
        return kind.prefix_in(names) is not None
    return open_folder(base).find(f"{kind.folder}/config.json") is not None


def _stranger(kind: PartKind, weights: Weights, kinds: Sequence[PartKind]) -> Problem | None:
    """Return what is wrong with a file that was given for ``kind``, or None when it is such a file."""
    where = f"--{kind.option} {weights.origin}"
    for mark, what in ADAPTERS:
        if any(mark in name for name in weights.shapes):
            return Problem(f"this is {what}", where)
    owner = kind
    if kind.prefix_in(weights.shapes) is None:
        owner = next((other for other in kinds if other.prefix_in(weights.shapes) is not None), kind)
        if owner is kind:
            shown = ", ".join(sorted(weights.shapes)[:3]) or "none at all"
            return Problem(f"this is no {kind.label}: its first tensors are {shown}", where)
    elif (width := _token_width(weights, kind.prefix_in(weights.shapes) or "")) not in {
        None,
        kind.standard().get("hidden_size"),
    }:
        owner = next((other for other in kinds if other.standard().get("hidden_size") == width), kind)
    if owner is kind:
        return None
    option = owner.option or "pretrained_model_name_or_path"
    return Problem(f"this file holds {owner.label}, not {kind.label}", where, f"give it as --{option}")


def _token_width(weights: Weights, prefix: str) -> int | None:
    """Return the width of the CLIP text encoder below a prefix of a file, by which alone its kinds differ."""
    names = (name for name in weights.shapes if name.startswith(prefix) and name.endswith(_TOKENS))
    return next((weights.shapes[name][1] for name in names), None)
