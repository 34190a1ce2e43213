"""The core's own options, as the field names them; and ``option``, which plugins declare theirs with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from loracore.config.limits import LARGEST_COUNT, LONGEST_SIDE, MOST_STEPS, MOST_THREADS
from loracore.config.lr_factors import as_text

#: What a cached tensor may depend on.
CacheKind = Literal["latents", "text"]


def option(
    help: str,  # noqa: A002  # the field's word for it
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    network_arg: bool = False,
    affects: Iterable[CacheKind] = (),
    hashed_as: str | None = None,
) -> Any:  # pydantic's FieldInfo, which is no type for annotations
    """Return the annotation of an option: one line of help, its range, and how else it may be given.

    ``network_arg`` opens the second door: ``network_args = ["name=value"]``. ``affects`` names the caches whose entries
    depend on the value. ``hashed_as`` is for a model's file: saved files tell name (ss_<hashed_as>_name) and hashes.
    """
    extra: dict[str, Any] = {"network_arg": network_arg, "affects": sorted(affects), "hashed_as": hashed_as}
    return Field(description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """Which plugins the run uses."""

    arch: Annotated[str | None, option("architecture of the base model: the name of an installed plugin")] = None
    network_module: Annotated[str, option("network to train: the name of an installed plugin")] = "lora"
    extensions: Annotated[tuple[str, ...], option("further plugins of this run, by name")] = ()


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Where the base model is, in which precision it runs, and how it is made to fit."""

    pretrained_model_name_or_path: Annotated[
        str | None, option("base model: a .safetensors checkpoint, a diffusers folder, or a hub id")
    ] = None
    allow_pickle: Annotated[
        bool, option("read .ckpt/.pt/.bin files too, as weights only; a pickle can hold code: prefer safetensors")
    ] = False
    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"], option("precision of the frozen weights and of the arithmetic")
    ] = "no"
    gradient_checkpointing: Annotated[
        bool, option("compute activations again in the backward pass: less memory, more time")
    ] = False
    cpu_offload_checkpointing: Annotated[
        bool, option("with gradient_checkpointing: what is kept of each block waits in host memory")
    ] = False
    blocks_to_swap: Annotated[
        int | None, option("blocks of the denoiser that wait in host memory in turns; at most all but 2", ge=0)
    ] = None
    fp8_base: Annotated[
        bool, option("store the weights of denoiser and text encoders in 8 bits (float8_e4m3fn)", affects={"text"})
    ] = False
    fp8_base_unet: Annotated[bool, option("store the weights of the denoiser in 8 bits (float8_e4m3fn)")] = False
    full_fp16: Annotated[bool, option("train in fp16 altogether, adapters too; needs mixed_precision fp16")] = False
    full_bf16: Annotated[bool, option("train in bf16 altogether, adapters too; needs mixed_precision bf16")] = False
    lowram: Annotated[
        bool, option("load straight to the device, float8 weights too: less host memory, more of the device's")
    ] = False
    highvram: Annotated[bool, option("keep the device memory of finished phases for the next ones: faster")] = False
    disable_mmap_load_safetensors: Annotated[
        bool, option("read weight files in the ordinary way: network drives and WSL are slow at memory-mapped ones")
    ] = False
    sdpa: Annotated[bool, option("attention by torch's scaled_dot_product_attention, the only kind there is")] = True


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the pictures are, and how they are grouped; the data-set file's own values come first."""

    dataset_config: Annotated[str | None, option("data-set file (TOML or JSON)")] = None
    train_data_dir: Annotated[str | None, option("folder of pictures, plain or with N_name sub-folders")] = None
    reg_data_dir: Annotated[
        str | None, option("folder of regularisation pictures, plain or with N_name sub-folders")
    ] = None
    in_json: Annotated[
        str | None, option("list of pictures and captions (JSON or JSON lines); its paths begin in train_data_dir")
    ] = None
    conditioning_data_dir: Annotated[
        str | None, option("folder of masks, named like the pictures; for a data set of one folder")
    ] = None
    resolution: Annotated[str | None, option("training size: N or WIDTH,HEIGHT in pixels")] = None
    train_batch_size: Annotated[int, option("pictures in a batch, on each device", ge=1, le=LARGEST_COUNT)] = 1
    dataset_repeats: Annotated[int, option("times each picture is seen in an epoch", ge=1, le=LARGEST_COUNT)] = 1
    enable_bucket: Annotated[bool, option("group pictures by aspect ratio")] = False
    min_bucket_reso: Annotated[int, option("smallest side of a bucket, in pixels", ge=1, le=LONGEST_SIDE)] = 256
    max_bucket_reso: Annotated[int, option("largest side of a bucket, in pixels", ge=1, le=LONGEST_SIDE)] = 1024
    bucket_reso_steps: Annotated[int, option("sides of buckets are multiples of this", ge=8, le=LONGEST_SIDE)] = 64
    bucket_no_upscale: Annotated[bool, option("never enlarge a picture; buckets follow the pictures")] = False
    resize_interpolation: Annotated[
        Literal["lanczos", "box", "area", "nearest", "bilinear", "linear", "bicubic", "cubic"] | None,
        option("how pictures are resized (unset: area to shrink, lanczos to enlarge)"),
    ] = None
    validation_split: Annotated[float, option("share of the pictures that is held out for validation", ge=0, le=1)] = (
        0.0
    )
    validation_seed: Annotated[int | None, option("seed of the choice of those pictures (unset: seed)")] = None
    prior_loss_weight: Annotated[float, option("weight of regularisation pictures in the loss", ge=0)] = 1.0
    caption_extension: Annotated[str, option("extension of the caption files beside the pictures")] = ".caption"
    caption_extention: Annotated[str | None, option("old misspelling of caption_extension, over which it wins")] = None
    class_tokens: Annotated[str | None, option("caption of pictures without one")] = None
    caption_prefix: Annotated[str | None, option("text before every caption")] = None
    caption_suffix: Annotated[str | None, option("text after every caption")] = None
    caption_separator: Annotated[str, option("what stands between the tags of a caption")] = ","
    secondary_separator: Annotated[
        str | None, option("separator inside a group of tags that stays together; becomes caption_separator")
    ] = None
    enable_wildcard: Annotated[
        bool, option("choose one of {a|b} in a caption, and one line of a caption of several lines")
    ] = False
    keep_tokens: Annotated[int, option("tags at the front that keep their places", ge=0, le=LARGEST_COUNT)] = 0
    keep_tokens_separator: Annotated[
        str, option("sign in a caption before which tags keep their places, and after its second mention (e.g. |||)")
    ] = ""
    shuffle_caption: Annotated[bool, option("put the tags of a caption in a new order each time")] = False
    token_warmup_min: Annotated[
        int, option("tags that are seen from the beginning of token_warmup_step", ge=0, le=LARGEST_COUNT)
    ] = 1
    token_warmup_step: Annotated[
        int | float,
        option("steps in which the number of tags grows; below 1 a share of all steps; 0: off", ge=0, le=MOST_STEPS),
    ] = 0
    caption_tag_dropout_rate: Annotated[float, option("share of tags that is left out each time", ge=0, le=1)] = 0.0
    caption_dropout_rate: Annotated[float, option("share of captions that is left out each time", ge=0, le=1)] = 0.0
    caption_dropout_every_n_epochs: Annotated[
        int, option("every caption is left out in each n-th epoch; 0: never", ge=0, le=MOST_STEPS)
    ] = 0
    legacy_captions: Annotated[bool, option("captions in the reference trainer's order, faults included")] = False
    flip_aug: Annotated[bool, option("mirror pictures half of the time")] = False
    color_aug: Annotated[bool, option("change hue or brightness a little each time; latents cannot be cached")] = False
    random_crop: Annotated[bool, option("cut pictures at a new place each time; latents cannot be cached")] = False
    face_crop_aug_range: Annotated[
        str | None, option("LOWER,UPPER: size of the cut in faces named in the file name (NAME_x_y_w_h); no buckets")
    ] = None
    alpha_mask: Annotated[bool, option("the transparency of a picture is the mask of its loss")] = False
    masked_loss: Annotated[bool, option("weigh the loss by masks: alpha_mask or conditioning_data_dir")] = False
    on_bad_image: Annotated[
        Literal["error", "skip"], option("what becomes of pictures that cannot be read: all are named either way")
    ] = "error"
    cache_latents: Annotated[
        bool, option("encode every picture once, before training; --no_cache_latents encodes in every step")
    ] = True
    cache_latents_to_disk: Annotated[
        bool, option("keep encoded pictures for later runs, in cache_dir; implies cache_latents")
    ] = False
    vae_batch_size: Annotated[int, option("pictures encoded at once", ge=1, le=LARGEST_COUNT)] = 1
    cache_text_encoder_outputs: Annotated[
        bool, option("demand that captions are encoded once; on by itself when no text encoder trains")
    ] = False
    cache_text_encoder_outputs_to_disk: Annotated[
        bool, option("keep encoded captions for later runs, in cache_dir; implies cache_text_encoder_outputs")
    ] = False
    text_encoder_batch_size: Annotated[int, option("captions encoded at once", ge=1, le=LARGEST_COUNT)] = 8
    caption_variants: Annotated[
        int, option("cached texts of a caption that is shuffled or thinned out at random", ge=1, le=LARGEST_COUNT)
    ] = 8
    cache_dir: Annotated[str, option("folder of the index and of the caches on disk, shared by runs")] = (
        "~/.cache/loracore"
    )
    cache_format: Annotated[
        Literal["shards", "npz"],
        option("form of the caches on disk; npz also writes the field's files by the pictures"),
    ] = "shards"
    max_data_loader_n_workers: Annotated[
        int, option("threads that load ahead; 0 loads when a step needs its batch", ge=0, le=MOST_THREADS)
    ] = 8
    persistent_data_loader_workers: Annotated[bool, option("without effect: what loads ahead always persists")] = False
    cache_info: Annotated[bool, option("without effect: the index is always kept and always checked")] = False
    skip_cache_check: Annotated[bool, option("without effect: the cache checks itself at no cost")] = False
    debug_dataset: Annotated[bool, option("not supported: `loracore check` shows a data set")] = False
    dataset_class: Annotated[str | None, option("not supported: there are no data-set classes of one's own")] = None

    @property
    def caches_latents(self) -> bool:
        """Tell whether pictures are encoded once, in memory or on disk."""
        return self.cache_latents or self.cache_latents_to_disk

    @property
    def demands_text_cache(self) -> bool:
        """Tell whether captions must be encoded once, in memory or on disk."""
        return self.cache_text_encoder_outputs or self.cache_text_encoder_outputs_to_disk


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What is trained, whatever the network."""

    network_dim: Annotated[int | None, option("rank of the network (unset: 4)", ge=1)] = None
    network_alpha: Annotated[float | None, option("scale numerator: scale = alpha / rank; 0 means rank", ge=0)] = 1.0
    network_dropout: Annotated[float, option("dropout inside the adapters", ge=0, lt=1)] = 0.0
    network_args: Annotated[tuple[str, ...], option("further options of the network, key=value")] = ()
    network_weights: Annotated[str | None, option("start from this file of the same network")] = None
    dim_from_weights: Annotated[bool, option("take rank, alpha and modules from network_weights")] = False
    network_train_unet_only: Annotated[bool, option("train adapters of the denoiser only")] = False
    network_train_text_encoder_only: Annotated[bool, option("train adapters of the text encoders only")] = False
    scale_weight_norms: Annotated[
        float | None, option("largest norm of a module's weight change; larger ones are scaled down", ge=0)
    ] = None
    base_weights: Annotated[
        tuple[str, ...], option("files of trained networks that are merged into the base model before training")
    ] = ()
    base_weights_multiplier: Annotated[
        tuple[float, ...], option("strength of each of base_weights (unset, and for those beyond: 1)")
    ] = ()
    training_comment: Annotated[str | None, option("free text, kept in the file's metadata")] = None


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """Ranks and learning rates that differ from block to block or from factor to factor.

    All of them may stand in ``network_args``. Blocks are those of the denoiser, in the architecture's order.
    """

    block_dims: Annotated[tuple[int, ...], option("rank of each block; 0 leaves a block out", network_arg=True)] = ()
    block_alphas: Annotated[
        tuple[float, ...], option("alpha of each block (unset: network_alpha)", network_arg=True)
    ] = ()
    conv_block_dims: Annotated[
        tuple[int, ...], option("rank of each block's larger convolutions (unset: conv_dim)", network_arg=True)
    ] = ()
    conv_block_alphas: Annotated[
        tuple[float, ...], option("alpha of each block's larger convolutions (unset: conv_alpha)", network_arg=True)
    ] = ()
    down_lr_weight: Annotated[
        str | None,
        option(
            "factors of the learning rate of the down blocks, or sine, cosine, linear, reverse_linear, zeros[+offset]",
            network_arg=True,
        ),
        BeforeValidator(as_text),
    ] = None
    mid_lr_weight: Annotated[
        str | None,
        option("factors of the learning rate of the middle blocks", network_arg=True),
        BeforeValidator(as_text),
    ] = None
    up_lr_weight: Annotated[
        str | None,
        option("factors of the learning rate of the up blocks, or a name as of down", network_arg=True),
        BeforeValidator(as_text),
    ] = None
    block_lr_zero_threshold: Annotated[
        float, option("blocks whose factor is given and not above it are left out", ge=0, network_arg=True)
    ] = 0.0
    loraplus_lr_ratio: Annotated[
        float | None, option("LoRA+: up factors learn so much faster; 0: not", ge=0, network_arg=True)
    ] = None
    loraplus_unet_lr_ratio: Annotated[
        float | None, option("LoRA+ of the denoiser; 0: not (unset: loraplus_lr_ratio)", ge=0, network_arg=True)
    ] = None
    loraplus_text_encoder_lr_ratio: Annotated[
        float | None, option("LoRA+ of the text encoders; 0: not (unset: loraplus_lr_ratio)", ge=0, network_arg=True)
    ] = None

    @property
    def lr_weights(self) -> dict[str, str]:
        """Return the factors of the learning rate that are given, by the group of blocks that they are for."""
        texts = {"down": self.down_lr_weight, "mid": self.mid_lr_weight, "up": self.up_lr_weight}
        return {group: text for group, text in texts.items() if text is not None}

    @property
    def lists(self) -> dict[str, tuple[float, ...]]:
        """Return the options that have one number for each block, by name."""
        return {
            "block_dims": self.block_dims,
            "block_alphas": self.block_alphas,
            "conv_block_dims": self.conv_block_dims,
            "conv_block_alphas": self.conv_block_alphas,
        }

    @property
    def by_block(self) -> bool:
        """Tell whether blocks differ in rank or learning rate."""
        return bool(self.block_dims or self.conv_block_dims or self.lr_weights)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How long and how it is trained."""

    max_train_steps: Annotated[int, option("optimizer steps", ge=1, le=MOST_STEPS)] = 1600
    max_train_epochs: Annotated[int | None, option("epochs; wins over max_train_steps", ge=1, le=MOST_STEPS)] = None
    gradient_accumulation_steps: Annotated[
        int, option("batches that make one optimizer step", ge=1, le=LARGEST_COUNT)
    ] = 1
    learning_rate: Annotated[float, option("learning rate", ge=0)] = 2e-6
    unet_lr: Annotated[float | None, option("learning rate of the denoiser's adapters", ge=0)] = None
    text_encoder_lr: Annotated[
        tuple[float, ...], option("learning rates of the text encoders' adapters: one for all, or one each")
    ] = ()
    optimizer_type: Annotated[Literal["AdamW", "AdamW8bit", "Adafactor"], option("optimizer")] = "AdamW"
    optimizer_args: Annotated[tuple[str, ...], option("further arguments of the optimizer, key=value")] = ()
    lr_scheduler: Annotated[
        Literal["constant", "constant_with_warmup", "cosine"], option("course of the learning rate")
    ] = "constant"
    lr_warmup_steps: Annotated[
        int | float, option("steps of rising learning rate; below 1 a share of all steps", ge=0, le=MOST_STEPS)
    ] = 0
    fused_backward_pass: Annotated[
        bool, option("each gradient is used and freed as soon as it is there: less memory; Adafactor only")
    ] = False
    max_grad_norm: Annotated[float, option("gradients are scaled down to this norm; 0: never", ge=0)] = 1.0
    min_timestep: Annotated[int, option("smallest timestep that is trained", ge=0, le=999)] = 0
    max_timestep: Annotated[int, option("timesteps below this are trained", ge=1, le=1000)] = 1000
    seed: Annotated[int | None, option("seed of everything random (unset: drawn, and written down)", ge=0)] = None


@dataclass(frozen=True, slots=True)
class SavingOptions:
    """What is written, where and when."""

    output_dir: Annotated[str | None, option("folder of the results")] = None
    output_name: Annotated[
        str | None, option("name of the results, without extension (unset: epoch-…, at-step…, last)")
    ] = None
    overwrite: Annotated[bool, option("replace results that exist already")] = False
    save_model_as: Annotated[Literal["safetensors"], option("file format")] = "safetensors"
    save_precision: Annotated[
        Literal["float", "fp16", "bf16"] | None, option("precision of saved tensors (unset: as trained, float)")
    ] = None
    save_every_n_epochs: Annotated[int | None, option("save after every n epochs; 0: never", ge=0, le=MOST_STEPS)] = (
        None
    )
    save_every_n_steps: Annotated[int | None, option("save after every n steps; 0: never", ge=0, le=MOST_STEPS)] = None
    no_metadata: Annotated[bool, option("leave training options out of the file's metadata")] = False


#: The tables that every run has; plugins add theirs.
CORE_OPTIONS: tuple[type, ...] = (
    PluginOptions,
    ModelOptions,
    DataOptions,
    NetworkOptions,
    BlockOptions,
    TrainingOptions,
    SavingOptions,
)
