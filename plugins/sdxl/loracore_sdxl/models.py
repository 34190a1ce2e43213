"""Base model files → loaded parts: a diffusers folder, a hub id, or one checkpoint in the original layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from loracore import Config, ConfigError, ModelOptions, Models, Part
from loracore.diffusion.clip_text import ClipTokenizer, encoder_layers
from loracore.diffusion.folders import LocalFolder, ModelFolder, given_path, open_folder
from loracore.diffusion.loading import EmptyPart, check_parts, fill_part
from loracore.diffusion.options import ClipTextOptions
from loracore.diffusion.picture_sizes import check_sizes
from loracore.diffusion.tokenizers import find_tokenizer
from loracore.diffusion.weights import open_weights
from loracore_sdxl import checkpoint, folder
from loracore_sdxl.options import SdxlOptions

#: Pictures come in multiples of it: the U-Net halves the latents twice, and a latent is 8 pixels wide.
_STEP = 32
#: Names of the parts as LoRA files and messages have them.
_PARTS: Mapping[Part, tuple[str, ...]] = {"text": ("te1", "te2"), "vae": ("vae",), "denoiser": ("unet",)}
#: Folder and hub id of each text encoder's tokenizer, and the id that it pads with where that is not its own.
_TOKENIZERS: Mapping[str, tuple[str, str, int | None]] = {
    "te1": ("tokenizer", "openai/clip-vit-large-patch14", None),
    "te2": ("tokenizer_2", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", 0),
}


def load(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the named parts, frozen, in evaluation mode, in ``dtype`` (the VAE in float32 with no_half_vae).

    Everything that file headers can tell is checked before the first weight is read. With ``device`` "meta" nothing
    else happens; then a folder of config.json files is enough, and no model at all means SDXL's own sizes. Raises
    LoracoreError for missing, damaged or foreign files.
    """
    wanted = _names_of(parts)
    empty = _empty_parts(wanted, device, dtype, config)
    check_parts(empty.values(), weights_needed=device.type != "meta")
    tokenizers = _tokenizers(wanted, config) if device.type != "meta" else {}
    modules = {
        name: fill_part(part, device, torch.float32 if name == "vae" and config[SdxlOptions].no_half_vae else dtype)
        for name, part in empty.items()
    }
    return Models(
        text={name: modules[name] for name in ("te1", "te2") if name in modules},
        vae=modules.get("vae"),
        denoiser=modules.get("unet"),
        blocks={name: _blocks(module) for name, module in modules.items() if name != "vae"},
        extras=tokenizers,
    )


def check(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError when the sizes of pictures, the parts or their tokenizers cannot be used; no weights read."""
    check_sizes(config.datasets, _STEP)
    wanted = _names_of(parts)
    check_parts(_empty_parts(wanted, torch.device("cpu"), torch.float32, config).values(), weights_needed=True)
    _tokenizers(wanted, config)


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


def _names_of(parts: frozenset[Part]) -> Sequence[str]:
    return [name for part in ("text", "vae", "denoiser") if part in parts for name in _PARTS[part]]


def _blocks(module: nn.Module) -> Sequence[nn.Module]:
    return tuple(unet_blocks(module) if isinstance(module, UNet2DConditionModel) else encoder_layers(module))


def _empty_parts(
    wanted: Sequence[str], device: torch.device, dtype: torch.dtype, config: Config
) -> Mapping[str, EmptyPart]:
    options = config[ModelOptions]
    given = options.pretrained_model_name_or_path
    if given is None:
        if device.type != "meta":
            message = "no base model is given"
            raise ConfigError(
                message, where="--pretrained_model_name_or_path", fix="give a checkpoint, a folder or a hub id"
            )
        return folder.standard_parts(wanted)
    path = given_path(given)
    if path.is_file():
        return checkpoint.empty_parts(wanted, open_weights(path, allow_pickle=options.allow_pickle))
    half_first = dtype == torch.float16
    return folder.empty_parts(wanted, open_folder(given), half_first=half_first, allow_pickle=options.allow_pickle)


def _tokenizers(wanted: Sequence[str], config: Config) -> Mapping[str, Any]:
    """Return the tokenizers of the wanted text encoders, by the encoders' names."""
    found = {}
    beside = _folder_beside(config[ModelOptions].pretrained_model_name_or_path or "")
    for name in wanted:
        if name in _TOKENIZERS:
            part, hub_id, pad_id = _TOKENIZERS[name]
            tokenizer = find_tokenizer(beside, part, hub_id, config[ClipTextOptions].tokenizer_cache_dir)
            found[name] = ClipTokenizer.of(tokenizer, pad_id)
    return found


def _folder_beside(given: str) -> ModelFolder:
    """Return the model's folder; for a checkpoint the folder of the same name beside it, which need not exist."""
    path = given_path(given)
    return LocalFolder(path.with_suffix("")) if path.is_file() else open_folder(given)
