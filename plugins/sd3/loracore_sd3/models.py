"""Base model files → loaded parts: one checkpoint, files of single parts, a diffusers folder, or a hub id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace

import torch

from loracore import Config, ConfigError, Models, NetworkOptions, Part, PartNames
from loracore.diffusion.files.base_parts import found_parts, tell_replaced
from loracore.diffusion.files.loading import check_device, check_parts, fill_part, precisions
from loracore.diffusion.files.part_kinds import models_of
from loracore.diffusion.files.parts import EmptyParts, names_in_files, wanted
from loracore.diffusion.findings import tell_absent
from loracore.diffusion.positions import check_resolutions
from loracore.diffusion.text.t5_encoder import t5_precision
from loracore.diffusion.text.text_tokenizers import tokenizers_for
from loracore_sd3 import recognition
from loracore_sd3.options import STEP, Sd3NetworkOptions, Sd3Options
from loracore_sd3.parts import kinds

_OF_T5 = ("train_t5xxl", *(field.name for field in fields(Sd3Options) if "t5" in field.name))


def load(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the named parts, frozen, in evaluation mode, in ``dtype`` (T5 as its options say; fp8 stays).

    Everything that file headers can tell is checked before the first weight is read. With ``device`` "meta" nothing
    else happens; then a folder of config.json files is enough, and no model at all means the standard sizes of the
    kind that ``network_weights`` fits, or SD3 medium's. Raises LoracoreError for missing, damaged or foreign files.
    """
    on_meta, own = device.type == "meta", config[Sd3Options]
    empty = _empty_parts(parts, config, dtype, any_size=on_meta)
    check_parts(empty.values(), weights_needed=not on_meta)
    extras = tokenizers_for(empty, config, wordless=on_meta)
    kept = precisions(empty, dtype, config) | {"te3": t5_precision(own.t5xxl_dtype, dtype)}
    t5_device = device if on_meta or own.t5xxl_device is None else torch.device(own.t5xxl_device)
    places = dict.fromkeys(empty, device) | {"te3": t5_device}
    modules = {name: fill_part(part, places[name], kept[name]) for name, part in empty.items()}
    models = models_of(modules, lambda transformer: transformer.transformer_blocks, extras)
    return replace(models, placed=frozenset({"te3"} if own.t5xxl_device else ()))


def check(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for resolutions, parts, tokenizers or a device that cannot be used; reads no weights."""
    empty = _empty_parts(parts, config, torch.float32)
    check_parts(empty.values(), weights_needed=True)
    tokenizers_for(empty, config)
    check_device("t5xxl_device", config[Sd3Options].t5xxl_device if "te3" in empty else None, config)
    if "unet" in empty and not config[Sd3Options].enable_scaled_pos_embed:
        check_resolutions(config.datasets, empty["unet"].module.get_submodule("pos_embed"), STEP)
    tell_replaced(wanted(kinds(), parts), config, asdict(config[Sd3Options]))
    if "text" in parts and "te3" not in empty:
        tell_absent(config, "T5-XXL", "t5xxl", _OF_T5, trained=config[Sd3NetworkOptions].train_t5xxl)


def file_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return what files call the parts' tensors; text encoders with save_clip and save_t5xxl, a VAE if there is one."""
    own = config[Sd3Options]
    left_out = {"te1": not own.save_clip, "te2": not own.save_clip, "te3": not own.save_t5xxl}
    chosen = [kind for kind in wanted(kinds(), parts) if not left_out.get(kind.name)]
    empty = _empty_parts(frozenset(kind.name for kind in chosen), config, torch.float32, any_size=True)
    if any(kind.name == "te3" for kind in chosen) and "te3" not in empty:
        raise ConfigError("the model has no T5-XXL", where=config.place("save_t5xxl"), fix="give --t5xxl FILE")
    check_parts(empty.values(), weights_needed=False)
    return {kind.name: names_in_files(kind, empty[kind.name]) for kind in chosen if kind.name in empty}


def _empty_parts(parts: frozenset[Part], config: Config, dtype: torch.dtype, *, any_size: bool = False) -> EmptyParts:
    """Return the parts without weights; a file of its own comes before the base model."""
    # Pictures are encoded with the VAE, but a checkpoint may be rewritten without one.
    every = [
        replace(kind, optional=kind.optional or any_size) if kind.name == "vae" else kind
        for kind in kinds(config[NetworkOptions].network_weights)
    ]
    own, half_first = asdict(config[Sd3Options]), dtype == torch.float16
    chosen = wanted(every, parts)
    found = found_parts(chosen, every, config, recognition, half_first=half_first, any_size=any_size, files=own)
    if "vae" in found:
        recognition.check_channels(found["vae"].config["latent_channels"], found["vae"].folder)
    return found
