"""The run's data sets with every value looked up, checked together before a picture is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loracore.config.config import Config
from loracore.config.dataset_keys import Table, check_table, parse_resolution
from loracore.config.dataset_sources import Source, find_source
from loracore.config.dataset_spec import DatasetSpec, SubsetSpec, whole_bounds
from loracore.config.options import DataOptions
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError, Problem

_FINEST = 8  # pixels a side of a latent stands for: a picture's sides must be multiples


@dataclass(frozen=True, slots=True)
class _Dataset:
    """The tables behind one data set: where a value is looked for, innermost first."""

    layers: tuple[Table, ...]  # [[datasets]], [general], the run's options
    subsets: tuple[Table, ...]
    place: str
    problems: tuple[Problem, ...]


def read_datasets(config: Config, document: TomlFile | None) -> tuple[DatasetSpec, ...]:
    """Return the data sets of ``dataset_config``, else of the run's own file, else of ``train_data_dir``.

    Every value is looked up in its subset, its data set, [general], and the run's options, in this order. Raises
    ConfigError with everything that is wrong at once.
    """
    source = find_source(config, document)
    options = {name for name, _ in config}
    run = _run_table(config)
    general = check_table(_table(source.values.get("general")), "general", source.placed("general"), options)
    tables = _tables(source.values.get("datasets"))
    datasets = [_read_dataset(source, row, (general, run), options) for row in range(len(tables))]
    problems = [*source.problems, *_shape_problems(source), *run.problems, *general.problems]
    problems += [problem for dataset in datasets for problem in dataset.problems]
    if problems:
        raise ConfigError.of(problems)
    return tuple(_build_dataset(dataset, source.warnings) for dataset in datasets)


def _run_table(config: Config) -> Table:
    """Return the run's options under the names that data-set files give them."""
    data = config[DataOptions]
    names = {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}
    values: dict[str, Any] = {
        "batch_size": data.train_batch_size,
        "num_repeats": data.dataset_repeats,
        "enable_bucket": data.enable_bucket,
        "min_bucket_reso": data.min_bucket_reso,
        "max_bucket_reso": data.max_bucket_reso,
        "bucket_reso_steps": data.bucket_reso_steps,
        "bucket_no_upscale": data.bucket_no_upscale,
        "caption_extension": data.caption_extension,
    }
    problems: list[Problem] = []
    if data.resolution is not None:
        try:
            values["resolution"] = parse_resolution(data.resolution)
        except ValueError as error:
            problems.append(Problem(f"resolution = {data.resolution!r}: {error}", config.place("resolution")))
    given = [*values, "resolution"] if data.resolution is not None else [*values]
    return Table(values, given, lambda name: config.place(names.get(name, name)), tuple(problems))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> Sequence[Mapping[str, Any]]:
    return [_table(item) for item in value] if isinstance(value, list) else []


def _shape_problems(source: Source) -> Iterable[Problem]:
    """Give a problem for every table that is no table, and every list of tables that is none or is empty."""
    general = source.values.get("general", {})
    if not isinstance(general, dict):
        yield Problem("general must be a table", source.place("general"), "write [general]")
    yield from _array_problems(source, source.values.get("datasets"), ("datasets",))
    for row, dataset in enumerate(_tables(source.values.get("datasets"))):
        yield from _array_problems(source, dataset.get("subsets"), ("datasets", row, "subsets"))


def _array_problems(source: Source, value: object, keys: tuple[str | int, ...]) -> Iterable[Problem]:
    name = ".".join(key for key in keys if isinstance(key, str))
    if value is None or value == []:
        parent = "the data set" if len(keys) > 1 else "the data-set file"
        yield Problem(f"{parent} has no {name}", source.place(*keys), f"add a [[{name}]] table")
    elif not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        yield Problem(f"{name} must be a list of tables", source.place(*keys), f"write [[{name}]]")


def _read_dataset(source: Source, row: int, outer: tuple[Table, ...], options: Collection[str]) -> _Dataset:
    found = _tables(source.values["datasets"])[row]
    keys = {name: value for name, value in found.items() if name != "subsets"}
    own = check_table(keys, "datasets", source.placed("datasets", row), options)
    subsets = tuple(
        check_table(table, "subsets", source.placed("datasets", row, "subsets", column), options)
        for column, table in enumerate(_tables(found.get("subsets")))
    )
    layers, place = (own, *outer), source.place("datasets", row)
    problems = [
        *own.problems,
        *_size_problems(layers, place),
        *(problem for subset in subsets for problem in _subset_problems(subset)),
    ]
    return _Dataset(layers, subsets, place, tuple(problems))


def _subset_problems(subset: Table) -> Iterable[Problem]:
    yield from subset.problems
    if "image_dir" not in subset.given and "metadata_file" not in subset.given:
        yield Problem("the subset has no image_dir", subset.place("image_dir"), "name its folder of pictures")


def _size_problems(layers: Sequence[Table], place: str) -> Iterable[Problem]:
    """Give a problem for a resolution that is missing or does not fit the buckets, as far as both are known."""
    resolution = _value(layers, "resolution")
    if resolution is None and not any("resolution" in layer.given for layer in layers):
        yield Problem("the data set has no resolution", place, 'add resolution = 1024, or "WIDTH,HEIGHT"')
    elif resolution is not None and not _value(layers, "enable_bucket"):
        yield from _unbucketed_problems(resolution, _place(layers, "resolution"))
    elif resolution is not None:
        yield from _bucket_problems(resolution, layers)


def _unbucketed_problems(resolution: tuple[int, int], place: str) -> Iterable[Problem]:
    if any(side % _FINEST for side in resolution):
        width, height = (side - side % _FINEST or _FINEST for side in resolution)
        message = f"the resolution {_by(resolution)} is not a multiple of {_FINEST}"
        yield Problem(message, place, f"{width}x{height} is")


def _bucket_problems(resolution: tuple[int, int], layers: Sequence[Table]) -> Iterable[Problem]:
    smallest, largest = (_value(layers, key) for key in ("min_bucket_reso", "max_bucket_reso"))
    bounds = whole_bounds(smallest, largest, _value(layers, "bucket_reso_steps"))
    place = _place(layers, "resolution")
    if max(resolution) > bounds[1]:
        message = f"the resolution {_by(resolution)} is beyond max_bucket_reso = {largest}"
        yield Problem(message, place, f"set max_bucket_reso = {max(resolution) * 2}, or lower the resolution")
    if min(resolution) < bounds[0]:
        message = f"the resolution {_by(resolution)} is below min_bucket_reso = {smallest}"
        yield Problem(message, place, f"set min_bucket_reso = {min(resolution) // 2}, or raise the resolution")


def _build_dataset(dataset: _Dataset, warnings: Sequence[str]) -> DatasetSpec:
    layers = dataset.layers
    subsets = [_build_subset((table, *layers)) for table in dataset.subsets]
    reasons = [_left_out(subset, subsets[:column]) for column, subset in enumerate(subsets)]
    spec = DatasetSpec(
        resolution=_value(layers, "resolution"),
        batch_size=_value(layers, "batch_size"),
        enable_bucket=_value(layers, "enable_bucket"),
        min_bucket_reso=_value(layers, "min_bucket_reso"),
        max_bucket_reso=_value(layers, "max_bucket_reso"),
        bucket_reso_steps=_value(layers, "bucket_reso_steps"),
        bucket_no_upscale=_value(layers, "bucket_no_upscale"),
        subsets=tuple(subset for subset, reason in zip(subsets, reasons, strict=True) if not reason),
    )
    notes = [*warnings, *(reason for reason in reasons if reason), *_bucket_notes(spec, dataset.place)]
    return replace(spec, warnings=tuple(notes))


def _bucket_notes(dataset: DatasetSpec, place: str) -> Iterable[str]:
    """Give what a user should know of the buckets' bounds, which matter only while pictures may be enlarged."""
    if not dataset.enable_bucket or dataset.bucket_no_upscale:
        return
    smallest, largest = dataset.bucket_bounds
    if (smallest, largest) != (dataset.min_bucket_reso, dataset.max_bucket_reso):
        asked = f"{dataset.min_bucket_reso} to {dataset.max_bucket_reso}"
        yield f"{place}: buckets have sides of {smallest} to {largest}, multiples of bucket_reso_steps, not {asked}"
    if largest * 2 < max(dataset.resolution) * 3:
        yield (
            f"{place}: max_bucket_reso = {dataset.max_bucket_reso} makes wide and tall pictures smaller than the "
            f"resolution {_by(dataset.resolution)} asks for; {max(dataset.resolution) * 2} would not"
        )


def _build_subset(layers: Sequence[Table]) -> SubsetSpec:
    extension = _value(layers, "caption_extension")
    return SubsetSpec(
        image_dir=Path(_value(layers, "image_dir")),
        num_repeats=_value(layers, "num_repeats"),
        caption_extension=extension if extension.startswith(".") else f".{extension}",
        class_tokens=_value(layers, "class_tokens"),
        caption_prefix=_value(layers, "caption_prefix") or "",
        caption_suffix=_value(layers, "caption_suffix") or "",
        resize_interpolation=_value(layers, "resize_interpolation"),
        place=_place(layers, "image_dir"),
    )


def _left_out(subset: SubsetSpec, earlier: Sequence[SubsetSpec]) -> str:
    """Return why a subset is not used, as the field has it, or an empty string."""
    if subset.num_repeats < 1:
        return f"{subset.place}: {subset.image_dir} is not used: its num_repeats is {subset.num_repeats}"
    same = next((other for other in earlier if other.image_dir == subset.image_dir and other.num_repeats > 0), None)
    return f"{subset.place}: {subset.image_dir} is not used again: {same.place} names it already" if same else ""


def _value(layers: Sequence[Table], key: str) -> Any:  # each key has its own type
    return next((layer.values[key] for layer in layers if key in layer.values), None)


def _place(layers: Sequence[Table], key: str) -> str:
    return next(layer.place(key) for layer in layers if key in layer.values)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
