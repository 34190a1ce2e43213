"""The keys of data-set files as the field documents them: type and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from loracore.config.limits import LARGEST_COUNT, LONGEST_SIDE, MOST_STEPS

#: Where a key stands; a value further inside wins: subsets, then datasets, then general.
Level = Literal["general", "datasets", "subsets"]

#: How each level is written.
TABLES: Mapping[Level, str] = MappingProxyType(
    {"general": "[general]", "datasets": "[[datasets]]", "subsets": "[[datasets.subsets]]"}
)

_DATASET: tuple[Level, ...] = ("datasets", "general")
_ANY: tuple[Level, ...] = ("subsets", "datasets", "general")
_SUBSET: tuple[Level, ...] = ("subsets",)

#: Values of a data set, not of a subset, that may stand in its subsets all the same: there they must agree.
AGREED = ("validation_seed", "network_multiplier")


def parse_resolution(value: object) -> tuple[int, int]:
    """Return (width, height) from N, [W, H], "N" or "W,H"; raises ValueError for anything else."""
    parts = _parts(value)
    sides = [_whole(part) for part in parts]
    numbers = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(numbers) != len(parts) or len(numbers) not in {1, 2}:
        message = 'should be N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT" in whole pixels'
        raise ValueError(message)
    if max(numbers) > LONGEST_SIDE:
        message = f"should have sides of at most {LONGEST_SIDE} pixels"
        raise ValueError(message)
    return numbers[0], numbers[-1]


def _whole(part: object) -> object:
    """Return the number that a text of digits means; one that is too long to be a size is the next too large one."""
    if not isinstance(part, str) or not part.strip().isdecimal():
        return part
    digits = part.strip().lstrip("0") or "0"
    return int(digits) if len(digits) <= len(str(LONGEST_SIDE)) else LONGEST_SIDE + 1


def path_text(value: str) -> str:
    """Return a text that can name a file; raises ValueError for any other."""
    if "\0" in value:
        message = "should hold no NUL character"
        raise ValueError(message)
    return value


def _extension(value: str) -> str:
    if not value.strip(". "):
        message = "should be an extension"
        raise ValueError(message)
    return path_text(value)


def parse_face_range(value: object) -> tuple[float, float]:
    """Return (lower, upper) from [LOWER, UPPER] or "LOWER,UPPER"; raises ValueError for anything else."""
    message = 'should be [LOWER, UPPER] or "LOWER,UPPER": numbers above 0, the lower one first'
    parts = _parts(value)
    if len(parts) != 2 or not all(isinstance(part, (int, float, str)) and not isinstance(part, bool) for part in parts):  # noqa: PLR2004  # a pair
        raise ValueError(message)
    try:
        lower, upper = map(float, parts)
    except ValueError as error:
        raise ValueError(message) from error
    if not 0 < lower <= upper < float("inf"):
        raise ValueError(message)
    return lower, upper


def _parts(value: object) -> list[Any]:
    if isinstance(value, str):
        return list(value.split(","))
    return list(value) if isinstance(value, (list, tuple)) else [value]


_Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE)]
_Batch = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
_Tags = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
_Epochs = Annotated[int, Field(ge=0, le=MOST_STEPS)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1)]
_Path = Annotated[_Name, AfterValidator(path_text)]
_Extension = Annotated[_Name, AfterValidator(_extension)]
_KeptTokens = Annotated[_Tags | bool, AfterValidator(int)]  # true has always passed here, as 1
_Interpolation = Literal["lanczos", "box", "area", "nearest", "bilinear", "linear", "bicubic", "cubic"]

_Resolution = Annotated[
    Any,
    PlainValidator(parse_resolution),
    WithJsonSchema(
        {
            "description": 'N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT" in pixels',
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LONGEST_SIDE},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1, "maximum": LONGEST_SIDE},
                    "minItems": 1,
                    "maxItems": 2,
                },
                {"type": "string"},
            ],
        }
    ),
]
_FaceRange = Annotated[
    Any,
    PlainValidator(parse_face_range),
    WithJsonSchema(
        {
            "description": '[LOWER, UPPER] or "LOWER,UPPER": the shorter side of the cut, in faces',
            "anyOf": [
                {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2},
                {"type": "string"},
            ],
        }
    ),
]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it may hold and where it may stand."""

    type: Any
    levels: tuple[Level, ...] = _ANY
    fix: str = ""  # of a wrong value, where the message alone does not tell


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "resolution": Key(_Resolution, _DATASET),
        "batch_size": Key(_Batch, _DATASET),
        "enable_bucket": Key(bool, _DATASET),
        "min_bucket_reso": Key(_Side, _DATASET),
        "max_bucket_reso": Key(_Side, _DATASET),
        "bucket_reso_steps": Key(Annotated[int, Field(ge=8, le=LONGEST_SIDE, multiple_of=8)], _DATASET),
        "bucket_no_upscale": Key(bool, _DATASET),
        "validation_split": Key(_Share),
        "validation_seed": Key(int),
        "network_multiplier": Key(_Finite),
        "image_dir": Key(_Path, _SUBSET),
        "metadata_file": Key(_Path, _SUBSET),
        "conditioning_data_dir": Key(_Path, _SUBSET),
        "is_reg": Key(bool, _SUBSET),
        "num_repeats": Key(Annotated[int, Field(le=LARGEST_COUNT)]),
        "alpha_mask": Key(bool),
        "resize_interpolation": Key(_Interpolation),
        "cache_info": Key(bool),
        "custom_attributes": Key(dict[str, Any]),
        "caption_extension": Key(_Extension, fix='write ".txt", or ".caption" as without it'),
        "class_tokens": Key(str),
        "caption_prefix": Key(str),
        "caption_suffix": Key(str),
        "caption_separator": Key(_Name),
        "secondary_separator": Key(str),
        "enable_wildcard": Key(bool),
        "keep_tokens": Key(_KeptTokens),
        "keep_tokens_separator": Key(str),
        "shuffle_caption": Key(bool),
        "token_warmup_min": Key(_Tags),
        "token_warmup_step": Key(Annotated[_Finite, Field(ge=0, le=MOST_STEPS)]),
        "caption_tag_dropout_rate": Key(_Share),
        "caption_dropout_rate": Key(_Share),
        "caption_dropout_every_n_epochs": Key(_Epochs),
        "flip_aug": Key(bool),
        "color_aug": Key(bool),
        "random_crop": Key(bool),
        "face_crop_aug_range": Key(_FaceRange),
    }
)
