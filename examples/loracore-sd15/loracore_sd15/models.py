"""Base model files → loaded parts: a diffusers folder, a hub id, or one checkpoint in the original layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from diffusers import UNet2DConditionModel

from loracore import Config, ConfigError, Models, Part, PartNames
from loracore.diffusion.files.base_parts import found_parts, tell_replaced
from loracore.diffusion.files.folders import packaged_config
from loracore.diffusion.files.loading import building_quietly, check_parts, fill_part, precisions
from loracore.diffusion.files.model_marks import check_marks
from loracore.diffusion.files.part_kinds import clip_kind, denoiser_kind, models_of, public, vae_kind
from loracore.diffusion.files.parts import EmptyParts, PartKind, names_in_files, wanted
from loracore.diffusion.text.clip_text import encoder_layers
from loracore.diffusion.text.text_tokenizers import tokenizers_for
from loracore_sd15 import recognition
from loracore_sd15.names import inner_blocks, unet_names
from loracore_sd15.options import Sd15Options
from loracore_sd15.targets import block_groups


def load(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the named parts, frozen, in ``dtype``; on "meta" no weights are read, and no model is needed."""
    on_meta = device.type == "meta"
    empty = _empty_parts(parts, config, dtype, filled=not on_meta)
    kept = precisions(empty, dtype, config)
    modules = {name: fill_part(part, device, kept[name]) for name, part in empty.items()}
    return models_of(modules, unet_blocks, {} if on_meta else tokenizers_for(empty, config), block_groups)


def check(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for parts, tokenizers or options that do not fit the model; no weights are read."""
    empty = _empty_parts(parts, config, torch.float32)
    skip, place = config[Sd15Options].clip_skip, config.place("clip_skip")
    if skip and "te1" in empty and skip > (layers := len(encoder_layers(empty["te1"].module))):
        raise ConfigError(f"the text encoder has {layers} layers", where=place, fix=f"give {layers} or less")
    tokenizers_for(empty, config)
    tell_replaced(wanted(kinds(), parts), config)
    check_marks(config, [name for part in empty.values() if part.weights for name in part.weights.shapes])


def file_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return what files call the named parts' tensors; without a base model those of the standard sizes."""
    empty = _empty_parts(parts, config, torch.float32, filled=False)
    return {kind.name: names_in_files(kind, empty[kind.name]) for kind in wanted(kinds(), parts)}


def kinds() -> tuple[PartKind, ...]:
    """Return the kinds of parts in the order of ``Models``; of a U-Net in one file the sizes are always the same."""
    configs = (f"{part}/config.json" for part in ("text_encoder", "vae", "unet"))
    te, vae, unet = (partial(packaged_config, "loracore_sd15", path) for path in configs)
    build = building_quietly()(lambda config: UNet2DConditionModel.from_config(public(config)))
    return (
        clip_kind(("text_encoder", recognition.TE), "text encoder (CLIP-L)", te, projecting=False, name="te1"),
        vae_kind(vae),
        denoiser_kind(("unet", recognition.UNET), "U-Net", build, unet, lambda *_: unet(), unet_names),
    )


def unet_blocks(unet: UNet2DConditionModel) -> list[torch.nn.Module]:
    """Return the resnets and transformers in execution order."""
    return [unet.get_submodule(name) for name in inner_blocks(unet) if "samplers" not in name]


def _empty_parts(parts: frozenset[Part], config: Config, dtype: torch.dtype, *, filled: bool = True) -> EmptyParts:
    """Return the parts without weights, checked against their files; unless they are to be filled, none is needed."""
    every, half_first = kinds(), dtype == torch.float16
    chosen = wanted(every, parts)
    found = found_parts(chosen, every, config, recognition, half_first=half_first, any_size=not filled)
    check_parts(found.values(), weights_needed=filled)
    return found
