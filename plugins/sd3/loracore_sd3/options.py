"""The options of this architecture alone, and what is said of them before anything is loaded; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import BeforeValidator

from loracore import Config, Finding, option
from loracore.diffusion.files.base_model import file_findings, model_findings
from loracore.diffusion.findings import encoder_device, idle, surplus_rates, unreadable, unsupported
from loracore.diffusion.number_lists import as_text, indices, numbers
from loracore.diffusion.options import flow_findings
from loracore.diffusion.pictures.picture_sizes import size_findings
from loracore_sd3 import recognition

#: Pictures come in multiples of it: the transformer's patches are two latents wide, and a latent is 8 pixels.
STEP = 16
#: What ``emb_dims`` has a rank for, in its order; what layers outside the blocks are called in files begins so.
EMBEDDERS = ("context_embedder", "t_embedder", "x_embedder", "y_embedder", "final_layer_adaLN", "final_layer_linear")
#: Options that are of other architectures or commands, and why they change nothing here.
_IDLE = {
    "clip_skip": "SD3 always takes the last hidden state but one of both CLIP text encoders",
    "max_token_length": "the CLIP text encoders of SD3 read one chunk of 75 tokens; t5xxl_max_token_length is T5's",
    "save_clip": "training writes the LoRA alone; `loracore merge --save_clip` writes the text encoders",
    "save_t5xxl": "training writes the LoRA alone; `loracore merge --save_t5xxl` writes the text encoder",
    "conv_dim": "the only convolution of SD3's transformer has its rank in emb_dims",
}
_UNSUPPORTED = {
    "v2": "means Stable Diffusion 2, whose text encoder and denoiser are not those of SD3",
    "v_parameterization": "is of models with DDPM noise; SD3 learns the velocity of flow matching as it is",
    "weighted_captions": "is of models that hear CLIP alone; SD3 hears T5 too, of which it is not known",
}


@dataclass(frozen=True, slots=True)
class Sd3Options:
    """Text encoder 1 is CLIP ViT-L, text encoder 2 is OpenCLIP ViT-bigG, text encoder 3 is T5-XXL."""

    clip_l: Annotated[str | None, option("file of CLIP-L; wins over the base model's")] = None
    clip_g: Annotated[str | None, option("file of CLIP-G; wins over the base model's")] = None
    t5xxl: Annotated[str | None, option("file of T5-XXL; wins over the base model's")] = None
    t5xxl_device: Annotated[str | None, option("device of T5-XXL: cpu, cuda:1 (unset: the training device)")] = None
    t5xxl_dtype: Annotated[
        Literal["fp32", "fp16", "bf16", "fp8_e4m3fn"] | None,
        option(
            "precision of T5-XXL (unset: that of mixed_precision); fp8_base stores it in fp8 all the same",
            affects={"text"},
        ),
    ] = None
    t5xxl_max_token_length: Annotated[int, option("tokens of a caption for T5-XXL", ge=1, affects={"text"})] = 256
    apply_lg_attn_mask: Annotated[bool, option("hide padding from CLIP-L's and -G's attention", affects={"text"})] = (
        False
    )
    apply_t5_attn_mask: Annotated[bool, option("hide padding from T5-XXL's attention", affects={"text"})] = False
    clip_l_dropout_rate: Annotated[float, option("share of samples that go without CLIP-L", ge=0, le=1)] = 0.0
    clip_g_dropout_rate: Annotated[float, option("share of samples that go without CLIP-G", ge=0, le=1)] = 0.0
    t5_dropout_rate: Annotated[float, option("share of samples that go without T5-XXL", ge=0, le=1)] = 0.0
    pos_emb_random_crop_rate: Annotated[
        float, option("share of samples with positions from anywhere in the table (SD3.5 medium)", ge=0, le=1)
    ] = 0.0
    enable_scaled_pos_embed: Annotated[
        bool, option("positions scaled to each training resolution (SD3.5 medium); previews keep the file's")
    ] = False
    save_clip: Annotated[bool, option("of `loracore merge`: write the CLIP text encoders too")] = False
    save_t5xxl: Annotated[bool, option("of `loracore merge`: write T5-XXL too")] = False
    v2: Annotated[bool, option("the base model is Stable Diffusion 2; not this architecture")] = False
    v_parameterization: Annotated[bool, option("of DDPM models; not this architecture")] = False
    weighted_captions: Annotated[bool, option("of other architectures; not this one")] = False
    clip_skip: Annotated[int | None, option("of Stable Diffusion 1; without effect here", ge=1)] = None
    max_token_length: Annotated[int | None, option("of other architectures; without effect here", ge=1)] = None


@dataclass(frozen=True, slots=True)
class Sd3NetworkOptions:
    """Which layers of the transformer get an adapter, and of which rank; all of it may stand in ``network_args``."""

    context_attn_dim: Annotated[int | None, option("rank of attention, text side", ge=0, network_arg=True)] = None
    context_mlp_dim: Annotated[int | None, option("rank of the MLPs, text side", ge=0, network_arg=True)] = None
    context_mod_dim: Annotated[int | None, option("rank of modulation, text side", ge=0, network_arg=True)] = None
    x_attn_dim: Annotated[int | None, option("rank of attention, picture side", ge=0, network_arg=True)] = None
    x_mlp_dim: Annotated[int | None, option("rank of the MLPs, picture side", ge=0, network_arg=True)] = None
    x_mod_dim: Annotated[int | None, option("rank of modulation, picture side", ge=0, network_arg=True)] = None
    emb_dims: Annotated[
        str | None,
        BeforeValidator(as_text),
        option(f"six ranks: {', '.join(EMBEDDERS)} (unset: none of them is trained)", network_arg=True),
    ] = None
    train_block_indices: Annotated[
        str | None, BeforeValidator(as_text), option('blocks to train: all, none, or "0,1,4-5,7"', network_arg=True)
    ] = None
    split_qkv: Annotated[bool, option("adapters of their own for query, key and value", network_arg=True)] = False
    train_t5xxl: Annotated[bool, option("train adapters of T5-XXL too", network_arg=True)] = False
    verbose: Annotated[bool, option("show the rank of every layer", network_arg=True)] = False


def emb_ranks(config: Config) -> tuple[int, ...] | None:
    """Return the six ranks of ``emb_dims`` in the order of ``EMBEDDERS``, or None; raises ValueError otherwise."""
    text = config[Sd3NetworkOptions].emb_dims
    return None if text is None else numbers(text, len(EMBEDDERS))


def block_indices(config: Config, depth: int) -> frozenset[int]:
    """Return the blocks to train; numbers beyond ``depth`` are still among them. Raises ValueError."""
    text = (config[Sd3NetworkOptions].train_block_indices or "all").strip().lower()
    if text == "all":
        return frozenset(range(depth))
    return frozenset() if text == "none" else indices(text)


def findings(config: Config) -> Iterator[Finding]:
    """Give everything that is wrong, unsupported or without effect in a run's options."""
    own, network = config[Sd3Options], config[Sd3NetworkOptions]
    yield from model_findings(config, recognition)
    yield from file_findings(config, {"clip_l": own.clip_l, "clip_g": own.clip_g, "t5xxl": own.t5xxl})
    yield from unsupported(config, _UNSUPPORTED)
    yield from idle(config, _IDLE)
    yield from unreadable(config, emb_ranks, "emb_dims", f"give a rank each for {', '.join(EMBEDDERS)}")
    yield from unreadable(
        config, partial(block_indices, depth=0), "train_block_indices", 'write all, none, or "0,1,4-5,7"'
    )
    yield from surplus_rates(config, 2 + network.train_t5xxl, f"SD3 trains {'three' if network.train_t5xxl else 'two'}")
    yield from encoder_device(config, "t5xxl_device", own.t5xxl_device, "train_t5xxl" if network.train_t5xxl else None)
    yield from flow_findings(config)
    yield from size_findings(config, STEP, STEP)
