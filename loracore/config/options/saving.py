"""What is written, where and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.limits import MOST_STEPS
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class SavingOptions:
    """What is written, where and when."""

    output_dir: Annotated[str | None, option("folder of the results", place=True)] = None
    output_name: Annotated[
        str | None, option("name of the results, without extension (unset: epoch-…, at-step…, last)")
    ] = None
    overwrite: Annotated[bool, option("replace results that exist already")] = False
    save_model_as: Annotated[
        Literal["safetensors", "ckpt", "pt"], option("file format; ckpt and pt are pickles without metadata")
    ] = "safetensors"
    save_precision: Annotated[
        Literal["float", "fp16", "bf16"] | None, option("precision of saved tensors (unset: as trained, float)")
    ] = None
    save_every_n_epochs: Annotated[int | None, option("save after every n epochs; 0: never", ge=0, le=MOST_STEPS)] = (
        None
    )
    save_every_n_steps: Annotated[int | None, option("save after every n steps; 0: never", ge=0, le=MOST_STEPS)] = None
    save_n_epoch_ratio: Annotated[
        int | None, option("save about so many times in all, evenly; 0: off", ge=0, le=MOST_STEPS)
    ] = None
    save_last_n_epochs: Annotated[
        int | None, option("of the files saved by epochs, keep so many; 0: all", ge=0, le=MOST_STEPS)
    ] = None
    save_last_n_steps: Annotated[
        int | None, option("of the files saved by steps, keep those of so many steps; 0: all", ge=0, le=MOST_STEPS)
    ] = None
    no_metadata: Annotated[bool, option("leave training options out of the file's metadata")] = False


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """What the file says of itself (modelspec.*)."""

    metadata_title: Annotated[str | None, option("title (unset: output_name)")] = None
    metadata_author: Annotated[str | None, option("author")] = None
    metadata_description: Annotated[str | None, option("description")] = None
    metadata_license: Annotated[str | None, option("licence")] = None
    metadata_tags: Annotated[str | None, option("tags, with commas between them")] = None
    metadata_usage_hint: Annotated[str | None, option("how to use it")] = None
    metadata_thumbnail: Annotated[str | None, option("picture file, or data URL")] = None
    metadata_merged_from: Annotated[str | None, option("what it was merged from")] = None
    metadata_trigger_phrase: Annotated[str | None, option("words that bring out what was trained")] = None
    metadata_preprocessor: Annotated[str | None, option("what a picture goes through before it controls another")] = (
        None
    )
    metadata_is_negative_embedding: Annotated[str | None, option("true of a negative embedding")] = None
