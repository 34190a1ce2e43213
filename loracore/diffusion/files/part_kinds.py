"""The kinds of parts that many architectures share: CLIP and T5 text encoders, VAEs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from loracore.diffusion.files.config_shapes import clip_config, t5_config, vae_config
from loracore.diffusion.files.loading import building_quietly
from loracore.diffusion.files.parts import PartKind, Settings, Shapes
from loracore.diffusion.files.weight_names import any_clip_names, any_vae_names, clip_names, open_clip_names, t5_names
from loracore.diffusion.text.clip_text import encoder_layers
from loracore.diffusion.text.t5_encoder import build_t5, t5_blocks
from loracore.types import DENOISER, Models
from loracore.weights.layout import Names, same_names

_PROJECTION = "text_projection.weight"


def public(config: Settings) -> dict[str, Any]:
    """Return what a module is built from: a configuration without the libraries' own notes and dtypes."""
    return {key: value for key, value in config.items() if not key.startswith("_") and not key.endswith("dtype")}


def clip_kind(
    place: tuple[str, str],
    label: str,
    standard: Callable[[], Settings],
    *,
    projecting: bool,
    open_clip: bool = False,
    **more: Any,
) -> PartKind:
    """Return a CLIP text encoder; ``place`` is its folder and its prefix, ``more`` as in ``PartKind``.

    Of a projecting one the pooled state is projected. Without projection one in the file is passed over.
    ``open_clip``: the original layout has OpenCLIP's names. Files are read with whichever names they have.
    """
    original = open_clip_names if open_clip else clip_names
    return PartKind(
        group="text",
        label=label,
        folder=place[0],
        prefix=place[1],
        build=partial(_build_clip, projecting=projecting),
        standard=standard,
        config_of=lambda shapes, _: clip_config(shapes, standard(), label),
        names=lambda module, in_file: (any_clip_names if in_file else original)(module.state_dict(), in_file),
        unused=() if projecting else (_PROJECTION,),
        **more,
    )


def t5_kind(place: tuple[str, str], label: str, standard: Callable[[], Settings], **more: Any) -> PartKind:
    """Return a T5 encoder; ``place`` is its folder and its prefix, ``more`` as in ``PartKind``."""
    return PartKind(
        group="text",
        label=label,
        folder=place[0],
        prefix=place[1],
        build=lambda config: build_t5(public(config)),
        standard=standard,
        config_of=lambda shapes, _: t5_config(shapes, standard()),
        names=lambda module, in_file: t5_names(module.state_dict(), in_file),
        unused=("encoder.embed_tokens.", "decoder.", "lm_head."),  # tied; the half that writes
        **more,
    )


def vae_kind(standard: Callable[[], Settings]) -> PartKind:
    """Return a VAE, which ``VaeOptions`` may give by a file of its own."""
    return PartKind(
        name="vae",
        group="vae",
        label="VAE",
        folder="vae",
        prefix="first_stage_model.",
        build=_build_vae,
        standard=standard,
        config_of=lambda shapes, _: vae_config(shapes, standard()),
        names=lambda module, in_file: any_vae_names(module.state_dict(), in_file),
        unused=("loss.", "model_ema."),  # of its own training, in files of VAEs alone
        bare=("encoder.conv_in.", "decoder.conv_in."),
        option="vae",
    )


def denoiser_kind(
    place: tuple[str, str],
    label: str,
    build: Callable[[Settings], nn.Module],
    standard: Callable[[], Settings],
    config_of: Callable[[Shapes, Shapes], Settings],
    original_names: Callable[[Any], Names],
    bare: tuple[str, ...] = (),
) -> PartKind:
    """Return a denoiser, which LoRA keys call "unet" whatever it is; ``place`` is its folder and its prefix.

    ``original_names`` makes the table of the original layout from the module; files may have its own names instead.
    """

    def names(module: nn.Module, in_file: Collection[str]) -> Names:
        return _closest((original_names(module), same_names(module.state_dict())), frozenset(in_file))

    return PartKind(DENOISER, "denoiser", label, *place, build, standard, config_of, names, bare=bare)


def identity_projection(module: nn.Module, in_file: Collection[str]) -> Mapping[str, Tensor]:
    """Return the identity for a CLIP text encoder whose file leaves out the projection, where it is square."""
    shape = module.state_dict()[_PROJECTION].shape
    if {_PROJECTION, "text_projection"} & set(in_file) or shape[0] != shape[1]:
        return {}
    return {_PROJECTION: torch.eye(shape[0])}


def _closest(tables: Iterable[Names], in_file: frozenset[str]) -> Names:
    """Return the table of which a file has the most names, the first of equal ones."""
    return max(tables, key=lambda table: len({place.name for place in table.values()} & in_file))


def models_of(
    modules: Mapping[str, nn.Module],
    denoiser_blocks: Callable[[Any], Iterable[nn.Module]],
    extras: Mapping[str, Any],
    block_groups: Callable[[Any], Mapping[str, Sequence[str]]] | None = None,
) -> Models:
    """Return loaded modules by part as models, with their blocks in execution order.

    Attention of the denoiser computes its projections of one input together from here on.
    ``block_groups`` makes what ``Models`` says of the denoiser's blocks, of an architecture that groups them.
    """
    text = {name: module for name, module in modules.items() if name not in {"vae", DENOISER}}
    denoiser = modules.get(DENOISER)
    blocks: dict[str, Sequence[nn.Module]] = {name: _text_blocks(module) for name, module in text.items()}
    if denoiser is not None:
        blocks[DENOISER] = tuple(denoiser_blocks(denoiser))
    groups = {} if denoiser is None or block_groups is None else block_groups(denoiser)
    together = () if denoiser is None else _grouped(denoiser)
    return Models(text, modules.get("vae"), denoiser, blocks, extras, block_groups=groups, together=together)


def _grouped(denoiser: nn.Module) -> Sequence[Sequence[nn.Module]]:
    from loracore.diffusion.attention.grouping import group_attention  # imports what every denoiser has imported

    return group_attention(denoiser)


def _text_blocks(encoder: nn.Module) -> Sequence[nn.Module]:
    from transformers import T5EncoderModel

    return t5_blocks(encoder) if isinstance(encoder, T5EncoderModel) else tuple(encoder_layers(encoder))


def _build_clip(config: Settings, *, projecting: bool) -> nn.Module:
    with building_quietly():  # also around the import, which runs with everything cached go without
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        kind = CLIPTextModelWithProjection if projecting else CLIPTextModel
        encoder: nn.Module = kind(CLIPTextConfig(**public(config)))
    return encoder


def _build_vae(config: Settings) -> nn.Module:
    with building_quietly():
        from diffusers import AutoencoderKL

        vae: nn.Module = AutoencoderKL.from_config(public(config))
    return vae
