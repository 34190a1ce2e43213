"""The keys of data-set files as the field documents them: type, level, and what this version does with each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from loracore.errors import Problem, did_you_mean

#: Where a key stands; a value further inside wins: subsets, then datasets, then general.
Level = Literal["general", "datasets", "subsets"]

#: How each level is written.
TABLES: Mapping[Level, str] = MappingProxyType(
    {"general": "[general]", "datasets": "[[datasets]]", "subsets": "[[datasets.subsets]]"}
)

_DATASET: tuple[Level, ...] = ("datasets", "general")
_ANY: tuple[Level, ...] = ("subsets", "datasets", "general")
_SUBSET: tuple[Level, ...] = ("subsets",)

#: Names of run options that data-set files spell differently.
_RENAMED = MappingProxyType({"train_batch_size": "batch_size", "dataset_repeats": "num_repeats"})

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Name = Annotated[str, Field(min_length=1)]
_Interpolation = Literal["lanczos", "box", "area", "nearest", "bilinear", "linear", "bicubic", "cubic"]


def parse_resolution(value: object) -> tuple[int, int]:
    """Return (width, height) from N, [W, H], "N" or "W,H"; raises ValueError for anything else."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    sides = [int(part) if isinstance(part, str) and part.strip().isdecimal() else part for part in parts]
    numbers = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(numbers) != len(parts) or len(numbers) not in {1, 2}:
        message = 'should be N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT" in whole pixels'
        raise ValueError(message)
    return numbers[0], numbers[-1]


_Resolution = Annotated[
    Any,
    PlainValidator(parse_resolution),
    WithJsonSchema(
        {
            "description": 'N, [WIDTH, HEIGHT] or "WIDTH,HEIGHT" in pixels',
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
                {"type": "string"},
            ],
        }
    ),
]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it may hold and where it may stand.

    ``off`` lists the values of a feature that this version lacks which switch it off; None takes every value.
    """

    type: Any
    levels: tuple[Level, ...] = _ANY
    off: tuple[object, ...] | None = None


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "resolution": Key(_Resolution, _DATASET),
        "batch_size": Key(_Count, _DATASET),
        "enable_bucket": Key(bool, _DATASET),
        "min_bucket_reso": Key(_Count, _DATASET),
        "max_bucket_reso": Key(_Count, _DATASET),
        "bucket_reso_steps": Key(Annotated[int, Field(ge=8, multiple_of=8)], _DATASET),
        "bucket_no_upscale": Key(bool, _DATASET),
        "resize_interpolation": Key(_Interpolation),
        "image_dir": Key(_Name, _SUBSET),
        "num_repeats": Key(int),
        "caption_extension": Key(_Name),
        "class_tokens": Key(str),
        "caption_prefix": Key(str),
        "caption_suffix": Key(str),
        # these only say how a feature below works, and do nothing while it is off
        "caption_separator": Key(str),
        "keep_tokens": Key(int | bool),  # true has always passed here
        "token_warmup_min": Key(int),
        "validation_seed": Key(int),
        # features of the field that this version lacks
        "shuffle_caption": Key(bool, off=(False,)),
        "keep_tokens_separator": Key(str, off=("",)),
        "secondary_separator": Key(str, off=("",)),
        "enable_wildcard": Key(bool, off=(False,)),
        "token_warmup_step": Key(float, off=(0,)),
        "caption_dropout_rate": Key(_Share, off=(0,)),
        "caption_dropout_every_n_epochs": Key(int, off=(0,)),
        "caption_tag_dropout_rate": Key(_Share, off=(0,)),
        "color_aug": Key(bool, off=(False,)),
        "flip_aug": Key(bool, off=(False,)),
        "random_crop": Key(bool, off=(False,)),
        "face_crop_aug_range": Key(list[float], off=()),
        "custom_attributes": Key(dict[str, Any], off=({},)),
        "validation_split": Key(_Share, off=(0,)),
        "network_multiplier": Key(float, off=(1,)),
        "cache_info": Key(bool, off=(False,)),
        "alpha_mask": Key(bool, off=(False,)),
        "is_reg": Key(bool, _SUBSET, off=(False,)),
        "metadata_file": Key(str, _SUBSET, off=("",)),
        "conditioning_data_dir": Key(str, _SUBSET, off=("",)),
    }
)


@dataclass(frozen=True, slots=True)
class Table:
    """The checked values of one table, and the place (``file:line``) of each key."""

    values: Mapping[str, Any]
    given: Collection[str]  # every key that stands there, right or wrong
    place: Callable[[str], str]
    problems: tuple[Problem, ...] = ()


def check_table(
    found: Mapping[str, Any], level: Level, place: Callable[[str], str], run_options: Collection[str]
) -> Table:
    """Return the table's values as their types say, with everything that is wrong about the others.

    A value that is None (null in JSON) counts as not given.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in found.items():
        if value is None:
            continue
        wrong = _misplaced(name, level, run_options) or _mistyped(name, value) or _unsupported(name, value)
        if wrong:
            problems.append(Problem(wrong.message, place(name), wrong.fix))
        else:
            values[name] = TypeAdapter(KEYS[name].type).validate_python(value, strict=True)
    return Table(values, tuple(found), place, tuple(problems))


def _misplaced(name: str, level: Level, run_options: Collection[str]) -> Problem | None:
    table = TABLES[level]
    if name in KEYS:
        levels = KEYS[name].levels
        if level in levels:
            return None
        homes = " or ".join(TABLES[home] for home in levels)
        return Problem(f"'{name}' belongs in {homes}, not in {table}", fix="move it there")
    if name in _RENAMED:
        return Problem(f"unknown key '{name}' in {table}", fix=f"a data set calls it '{_RENAMED[name]}'")
    if name in run_options:
        message = f"'{name}' is an option of the run, not a key of {table}"
        return Problem(message, fix=f"give it outside the data set, or as --{name}")
    here = [known for known, key in KEYS.items() if level in key.levels]
    return Problem(f"unknown key '{name}' in {table}", fix=did_you_mean(name, here))


def _mistyped(name: str, value: object) -> Problem | None:
    try:
        TypeAdapter(KEYS[name].type).validate_python(value, strict=True)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
        return Problem(f"{name} = {value!r}: {said}")
    return None


def _unsupported(name: str, value: object) -> Problem | None:
    off = KEYS[name].off
    if off is None or value in off:
        return None
    return Problem(f"{name} = {value!r} is not supported by this version", fix="leave it out")
