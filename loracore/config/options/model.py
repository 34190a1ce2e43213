"""The base model: where it is, how precisely it computes, how it is made to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Where the base model is, in which precision it runs, and how it is made to fit."""

    pretrained_model_name_or_path: Annotated[
        str | None, option("base model: a .safetensors checkpoint, a diffusers folder, or a hub id", place=True)
    ] = None
    allow_pickle: Annotated[
        bool,
        option(
            "read .ckpt/.pt/.bin files too, as weights only; a pickle can hold code: prefer safetensors", neutral=True
        ),
    ] = False
    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"], option("precision of the frozen weights and of the arithmetic")
    ] = "no"
    gradient_checkpointing: Annotated[
        bool, option("compute activations again in the backward pass: less memory, more time", neutral=True)
    ] = False
    checkpointed_blocks: Annotated[
        tuple[int, ...],
        option("blocks of the denoiser that alone compute activations again: places in order, from 0", neutral=True),
    ] = ()
    cpu_offload_checkpointing: Annotated[
        bool, option("with gradient_checkpointing: what is kept of each block waits in host memory", neutral=True)
    ] = False
    blocks_to_swap: Annotated[
        int | None,
        option("blocks of the denoiser that wait in host memory in turns; at most all but 2", ge=0, neutral=True),
    ] = None
    fp8_base: Annotated[
        bool, option("store the weights of denoiser and text encoders in 8 bits (float8_e4m3fn)", affects={"text"})
    ] = False
    fp8_base_unet: Annotated[bool, option("store the weights of the denoiser in 8 bits (float8_e4m3fn)")] = False
    base_model_precision: Annotated[
        Literal["given", "fp8_scaled", "int8", "nf4"],
        option("store the matrices of the denoiser's blocks in 8 or 4 bits, with scales; given: as they are loaded"),
    ] = "given"
    full_fp16: Annotated[bool, option("train in fp16 altogether, adapters too; needs mixed_precision fp16")] = False
    full_bf16: Annotated[bool, option("train in bf16 altogether, adapters too; needs mixed_precision bf16")] = False
    lowram: Annotated[
        bool,
        option(
            "load straight to the device, quantised weights too: less host memory, more of the device's", neutral=True
        ),
    ] = False
    highvram: Annotated[
        bool, option("keep the device memory of finished phases for the next ones: faster", neutral=True)
    ] = False
    disable_mmap_load_safetensors: Annotated[
        bool,
        option(
            "read weight files in the ordinary way: network drives and WSL are slow at memory-mapped ones", neutral=True
        ),
    ] = False
    sdpa: Annotated[bool, option("attention by torch's scaled_dot_product_attention, the only kind there is")] = True
    xformers: Annotated[bool, option("without effect: attention is torch's scaled_dot_product_attention")] = False
    mem_eff_attn: Annotated[bool, option("without effect: attention is torch's scaled_dot_product_attention")] = False
