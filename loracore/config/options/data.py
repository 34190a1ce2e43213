"""Pictures and captions, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.limits import LARGEST_COUNT, LONGEST_SIDE, MOST_STEPS, MOST_THREADS
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the pictures are, and how they are grouped; the data-set file's own values come first."""

    dataset_config: Annotated[str | None, option("data-set file (TOML or JSON)")] = None
    train_data_dir: Annotated[
        str | None, option("folder of pictures, plain or with N_name sub-folders", place=True)
    ] = None
    reg_data_dir: Annotated[
        str | None, option("folder of regularisation pictures, plain or with N_name sub-folders", place=True)
    ] = None
    in_json: Annotated[
        str | None, option("list of pictures and captions (JSON or JSON lines); its paths begin in train_data_dir")
    ] = None
    conditioning_data_dir: Annotated[
        str | None, option("folder of masks, named like the pictures; for a data set of one folder", place=True)
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
    vae_batch_size: Annotated[int, option("pictures encoded at once", ge=1, le=LARGEST_COUNT, neutral=True)] = 1
    cache_text_encoder_outputs: Annotated[
        bool, option("demand that captions are encoded once; on by itself when no text encoder trains")
    ] = False
    cache_text_encoder_outputs_to_disk: Annotated[
        bool, option("keep encoded captions for later runs, in cache_dir; implies cache_text_encoder_outputs")
    ] = False
    text_encoder_batch_size: Annotated[
        int, option("captions encoded at once", ge=1, le=LARGEST_COUNT, neutral=True)
    ] = 8
    caption_variants: Annotated[
        int, option("cached texts of a caption that is shuffled or thinned out at random", ge=1, le=LARGEST_COUNT)
    ] = 8
    cache_dir: Annotated[str, option("folder of the index and of the caches on disk, shared by runs", neutral=True)] = (
        "~/.cache/loracore"
    )
    cache_format: Annotated[
        Literal["shards", "npz"],
        option("form of the caches on disk; npz also writes the field's files by the pictures", neutral=True),
    ] = "shards"
    max_data_loader_n_workers: Annotated[
        int, option("threads that load ahead; 0 loads when a step needs its batch", ge=0, le=MOST_THREADS, neutral=True)
    ] = 8
    persistent_data_loader_workers: Annotated[
        bool, option("without effect: what loads ahead always persists", neutral=True)
    ] = False
    cache_info: Annotated[bool, option("without effect: the index is always kept and always checked", neutral=True)] = (
        False
    )
    skip_cache_check: Annotated[bool, option("without effect: the cache checks itself at no cost", neutral=True)] = (
        False
    )
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
