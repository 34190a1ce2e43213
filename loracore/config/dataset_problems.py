"""What is wrong with a data set although each of its keys is right: what is missing, and what contradicts what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loracore.config.config import Config
from loracore.config.dataset_keys import AGREED
from loracore.config.dataset_sources import Source
from loracore.config.dataset_spec import whole_bounds
from loracore.config.dataset_tables import DatasetTables, Layers, source_place
from loracore.config.options import DataOptions
from loracore.errors import Problem

_FINEST = 8  # pixels a side of a latent stands for: a picture's sides must be multiples
_SIZES = ("resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps")
_RANDOM_PIXELS = ("color_aug", "random_crop", "face_crop_aug_range")


def as_table(value: object) -> Mapping[str, Any]:
    """Return a table, empty where something else stands."""
    return value if isinstance(value, dict) else {}


def as_tables(value: object) -> Sequence[Mapping[str, Any]]:
    """Return a list of tables, empty where something else stands."""
    return [as_table(item) for item in value] if isinstance(value, list) else []


def shape_problems(source: Source) -> Iterable[Problem]:
    """Give a problem for every table that is no table, and every list of tables that is none or is empty."""
    general = source.values.get("general", {})
    if not isinstance(general, dict):
        yield Problem("general must be a table", source.place("general"), "write [general]")
    yield from _array_problems(source, source.values.get("datasets"), ("datasets",))
    for row, dataset in enumerate(as_tables(source.values.get("datasets"))):
        yield from _array_problems(source, dataset.get("subsets"), ("datasets", row, "subsets"))


def _array_problems(source: Source, value: object, keys: tuple[str | int, ...]) -> Iterable[Problem]:
    name = ".".join(key for key in keys if isinstance(key, str))
    if value is None or value == []:
        parent = "the data set" if len(keys) > 1 else "the data-set file"
        yield Problem(f"{parent} has no {name}", source.place(*keys), f"add a [[{name}]] table")
    elif not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        yield Problem(f"{name} must be a list of tables", source.place(*keys), f"write [[{name}]]")


def dataset_problems(dataset: DatasetTables, config: Config) -> Iterable[Problem]:
    """Give everything that is wrong about one data set."""
    yield from dataset.misread
    yield from _size_problems(dataset.layers, dataset.place)
    for subset in dataset.subsets:
        if not subset.has("image_dir") and not subset.has("metadata_file"):
            fix = "name its folder of pictures, or a metadata_file"
            yield Problem("the subset has no image_dir", source_place(subset), fix)
    yield from _style_problems(dataset.subsets)
    for key in AGREED:
        yield from _disagreement(key, dataset.training)
    yield from _cache_problems(dataset.subsets, config)


def mask_problems(lacking: Sequence[Layers], config: Config) -> Iterable[Problem]:
    """Give a problem when ``conditioning_data_dir`` of the run cannot be told to one of the subsets without masks."""
    if config[DataOptions].conditioning_data_dir is not None and len(lacking) > 1:
        message = f"conditioning_data_dir is one folder of masks, but {len(lacking)} subsets have none of their own"
        fix = "write a data-set file with a conditioning_data_dir in each [[datasets.subsets]]"
        yield Problem(message, config.place("conditioning_data_dir"), fix)


def random_pixels(subset: Layers) -> list[str]:
    """Return the keys of a subset that change its pixels each time; faces are not cut out where there are buckets."""
    idle = {"face_crop_aug_range"} if subset["enable_bucket"] else frozenset()
    return [key for key in _RANDOM_PIXELS if subset[key] and key not in idle]


def _size_problems(layers: Layers, place: str) -> Iterable[Problem]:
    """Give a problem for a resolution that is missing or does not fit the buckets, as far as both are known."""
    if not layers.has("resolution"):
        yield Problem("the data set has no resolution", place, 'add resolution = 1024, or "WIDTH,HEIGHT"')
    elif any(layers.misreads(key) for key in _SIZES):
        return
    elif layers["enable_bucket"]:
        yield from _bucket_problems(layers["resolution"], layers)
    else:
        yield from _unbucketed_problems(layers["resolution"], layers.place("resolution"))


def _unbucketed_problems(resolution: tuple[int, int], place: str) -> Iterable[Problem]:
    if any(side % _FINEST for side in resolution):
        width, height = (side - side % _FINEST or _FINEST for side in resolution)
        message = f"the resolution {resolution[0]}x{resolution[1]} is not a multiple of {_FINEST}"
        yield Problem(message, place, f"{width}x{height} is")


def _bucket_problems(resolution: tuple[int, int], layers: Layers) -> Iterable[Problem]:
    smallest, largest = layers["min_bucket_reso"], layers["max_bucket_reso"]
    bounds = whole_bounds(smallest, largest, layers["bucket_reso_steps"])
    place, size = layers.place("resolution"), f"{resolution[0]}x{resolution[1]}"
    if max(resolution) > bounds[1]:
        message = f"the resolution {size} is beyond max_bucket_reso = {largest}"
        yield Problem(message, place, f"set max_bucket_reso = {max(resolution) * 2}, or lower the resolution")
    if min(resolution) < bounds[0]:
        message = f"the resolution {size} is below min_bucket_reso = {smallest}"
        yield Problem(message, place, f"set min_bucket_reso = {min(resolution) // 2}, or raise the resolution")


def _style_problems(subsets: Sequence[Layers]) -> Iterable[Problem]:
    """Give a problem when captions come from lists in one subset and from files beside the pictures in another."""
    listed = [source_place(subset) for subset in subsets if subset.has("metadata_file")]
    plain = [source_place(subset) for subset in subsets if subset.has("image_dir") and not subset.has("metadata_file")]
    if listed and plain:
        message = (
            f"one data set mixes subsets with a metadata_file ({', '.join(listed)}) and without ({', '.join(plain)})"
        )
        yield Problem(message, listed[0], "give each kind a [[datasets]] of its own")


def _disagreement(key: str, subsets: Sequence[Layers]) -> Iterable[Problem]:
    """Give a problem when subsets have different values of what the whole data set has one of."""
    if any(subset.misreads(key) for subset in subsets):
        return
    other = next((subset for subset in subsets if subset[key] != subsets[0][key]), None)
    if other is not None:
        first, second = (f"{_shown(subset[key])} for {source_place(subset)}" for subset in (subsets[0], other))
        writer = subsets[0] if key in subsets[0].tables[0].given else other
        message = f"{key} is one for the whole data set, but {first} and {second}"
        yield Problem(message, writer.place(key), "write it in [[datasets]], or make a data set for each value")


def _shown(value: object) -> str:
    return "unset" if value is None else f"{value}"


def _cache_problems(subsets: Sequence[Layers], config: Config) -> Iterable[Problem]:
    """Give a problem for each place that changes pixels at random although the user asks for cached latents."""
    data = config[DataOptions]
    asked = {"cache_latents": data.cache_latents, "cache_latents_to_disk": data.cache_latents_to_disk}
    option = next((name for name, is_on in asked.items() if is_on and config.given(name)), None)
    if option is None:
        return
    found: dict[tuple[str, str], list[str]] = {}
    for subset in subsets:
        for key in random_pixels(subset):
            found.setdefault((key, subset.place(key)), []).append(f"{subset['image_dir'] or subset['metadata_file']}")
    for (key, place), names in found.items():
        message = f"{key} changes the pixels of {', '.join(names)} each time, but {option} keeps them encoded"
        yield Problem(message, place, f"leave out {key}, or {option} ({config.place(option)})")
