"""Base model files → loaded parts: a diffusers folder, a hub id, or one checkpoint in the original layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from loracore import Config, ModelOptions, Models, Part, PartNames
from loracore.diffusion.files.base_parts import found_parts, open_file, tell_replaced
from loracore.diffusion.files.config_shapes import guesses_untold
from loracore.diffusion.files.folders import given_path
from loracore.diffusion.files.loading import check_parts, fill_part, precisions
from loracore.diffusion.files.model_marks import check_marks
from loracore.diffusion.files.part_kinds import models_of
from loracore.diffusion.files.parts import EmptyParts, names_in_files, wanted
from loracore.diffusion.files.written_marks import MARK_TENSORS
from loracore.diffusion.text.text_tokenizers import tokenizers_for
from loracore.weights.layout import same_names
from loracore_sdxl import recognition
from loracore_sdxl.parts import kinds
from loracore_sdxl.targets import block_groups


def load(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the named parts, frozen, in evaluation mode, in ``dtype``, the VAE in float32 with no_half_vae; fp8 stays.

    Everything that file headers can tell is checked before the first weight is read. With ``device`` "meta" nothing
    else happens; then a folder of config.json files is enough, and no model at all means SDXL's own sizes. Raises
    LoracoreError for missing, damaged or foreign files.
    """
    on_meta = device.type == "meta"
    with guesses_untold():
        empty = _empty_parts(parts, config, dtype, any_size=on_meta)
    check_parts(empty.values(), weights_needed=not on_meta)
    tokenizers = tokenizers_for(empty, config, wordless=on_meta)
    kept = precisions(empty, dtype, config)
    modules = {name: fill_part(part, device, kept[name]) for name, part in empty.items()}
    return models_of(modules, unet_blocks, tokenizers, block_groups)


def check(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for parts, tokenizers or options that do not fit the model; no weights are read."""
    empty = _empty_parts(parts, config, torch.float32)
    check_parts(empty.values(), weights_needed=True)
    tokenizers_for(empty, config)
    tell_replaced(wanted(kinds(), parts), config)
    check_marks(config, [name for part in empty.values() if part.weights for name in part.weights.shapes])


def file_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return what files call the named parts' tensors; without a base model those of SDXL's own sizes."""
    empty = _empty_parts(parts, config, torch.float32, any_size=True)
    check_parts(empty.values(), weights_needed=False)
    found = {kind.name: names_in_files(kind, empty[kind.name]) for kind in wanted(kinds(), parts)}
    path = given_path(config[ModelOptions].pretrained_model_name_or_path or "")
    return {**found, "beside": _beside(path, config)} if "denoiser" in parts and path.is_file() else found


def _beside(path: Path, config: Config) -> PartNames:
    """Return what a checkpoint holds beside the parts' weights and a rewritten one should hold too."""
    weights = open_file(path, config[ModelOptions])
    kept = [name for name in (*MARK_TENSORS, recognition.LOGIT_SCALE) if name in weights.shapes]
    return PartNames(same_names(kept), "", weights.read)


def unet_blocks(unet: UNet2DConditionModel) -> Iterator[nn.Module]:
    """Give the resnets and transformer blocks in execution order."""
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        children = dict(block.named_children())
        pairs = _pairs(list(children["resnets"]), list(children.get("attentions", ())), middle=block is unet.mid_block)
        for module in pairs:
            yield from module.transformer_blocks if isinstance(module, Transformer2DModel) else (module,)


def _pairs(resnets: Sequence[nn.Module], attentions: Sequence[nn.Module], *, middle: bool) -> Iterator[nn.Module]:
    """Give resnets and transformers alternately; in the middle the first resnet stands before all pairs."""
    if middle:
        yield resnets[0]
        after = zip(attentions, resnets[1:], strict=True)
        yield from (module for pair in after for module in pair)
        return
    for number, resnet in enumerate(resnets):
        yield resnet
        yield from attentions[number : number + 1]


def _empty_parts(parts: frozenset[Part], config: Config, dtype: torch.dtype, *, any_size: bool = False) -> EmptyParts:
    """Return the parts without weights; with ``any_size`` no model at all means SDXL's own sizes."""
    every, half_first = kinds(), dtype == torch.float16
    return found_parts(wanted(every, parts), every, config, recognition, half_first=half_first, any_size=any_size)
