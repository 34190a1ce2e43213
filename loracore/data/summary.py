"""What an index amounts to: pictures by bucket, and the data's part of a saved file's header."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loracore.data.captions import tag_frequency

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
    from loracore.data.buckets import Size
    from loracore.data.picture import Index, Picture


@dataclass(frozen=True, slots=True)
class BucketRow:
    """One bucket of one data set."""

    dataset: int
    size: Size  # width, height
    pictures: int
    samples: int  # pictures with their repeats: what an epoch shows


def bucket_table(index: Index) -> tuple[BucketRow, ...]:
    """Return every bucket that holds a picture, sorted by data set and size."""
    pictures: Counter[tuple[int, Size]] = Counter()
    samples: Counter[tuple[int, Size]] = Counter()
    for picture in index.pictures:
        pictures[picture.dataset, picture.framing.size] += 1
        samples[picture.dataset, picture.framing.size] += picture.repeats
    return tuple(BucketRow(*bucket, pictures[bucket], samples[bucket]) for bucket in sorted(pictures))


def dataset_metadata(index: Index, datasets: Sequence[DatasetSpec]) -> dict[str, str]:
    """Return the ``ss_`` keys that say what was trained on, under the field's names; folders by their last name.

    A run with one data set has that one's sizes and buckets as keys of their own as well.
    """
    by_dataset: dict[int, list[Picture]] = defaultdict(list)
    for picture in index.pictures:
        by_dataset[picture.dataset].append(picture)
    described = [_describe(dataset, by_dataset[row]) for row, dataset in enumerate(datasets)]
    tags: dict[str, Mapping[str, int]] = {}
    for one in described:
        tags = {**one["tag_frequency"], **tags}  # the first data set of a folder speaks for it
    found = {
        "ss_num_train_images": str(sum(picture.repeats for picture in index.pictures)),
        "ss_num_reg_images": "0",
        "ss_num_validation_images": "0",
        "ss_datasets": json.dumps(described),
        "ss_dataset_dirs": json.dumps(_directories(datasets, by_dataset)),
        "ss_reg_dataset_dirs": json.dumps({}),
        "ss_tag_frequency": json.dumps(tags),
    }
    return {**found, **_single(datasets[0], described[0])} if len(datasets) == 1 else found


def _single(dataset: DatasetSpec, described: Mapping[str, Any]) -> dict[str, str]:
    return {
        "ss_batch_size_per_device": str(dataset.batch_size),
        "ss_resolution": str(dataset.resolution),
        "ss_enable_bucket": str(dataset.enable_bucket),
        "ss_bucket_no_upscale": str(dataset.bucket_no_upscale),
        "ss_min_bucket_reso": str(described["min_bucket_reso"]),
        "ss_max_bucket_reso": str(described["max_bucket_reso"]),
        "ss_bucket_info": json.dumps(described["bucket_info"]),
    }


def _describe(dataset: DatasetSpec, pictures: Sequence[Picture]) -> dict[str, Any]:
    smallest, largest = dataset.bucket_bounds if dataset.enable_bucket else (None, None)
    by_subset: dict[int, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_subset[picture.subset].append(picture)
    return {
        "is_dreambooth": True,
        "batch_size_per_device": dataset.batch_size,
        "num_train_images": sum(picture.repeats for picture in pictures),
        "num_reg_images": 0,
        "resolution": dataset.resolution,
        "enable_bucket": dataset.enable_bucket,
        "min_bucket_reso": smallest,
        "max_bucket_reso": largest,
        "tag_frequency": _tags(dataset, by_subset),
        "bucket_info": _bucket_info(pictures) if dataset.enable_bucket else None,
        "subsets": [_describe_subset(subset, len(by_subset[row])) for row, subset in enumerate(dataset.subsets)],
    }


def _describe_subset(subset: SubsetSpec, count: int) -> dict[str, Any]:
    return {
        "img_count": count,
        "num_repeats": subset.num_repeats,
        "image_dir": _name(subset),
        "class_tokens": subset.class_tokens,
        "is_reg": False,
        "caption_prefix": subset.caption_prefix or None,
        "caption_suffix": subset.caption_suffix or None,
        "resize_interpolation": subset.resize_interpolation,
        "color_aug": False,
        "flip_aug": False,
        "random_crop": False,
        "shuffle_caption": False,
        "enable_wildcard": False,
    }


def _tags(dataset: DatasetSpec, by_subset: Mapping[int, Sequence[Picture]]) -> dict[str, Counter[str]]:
    """Return each folder's tags, counted once a picture whatever its repeats."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row, subset in enumerate(dataset.subsets):
        found[_name(subset)].update(tag_frequency(picture.raw_caption for picture in by_subset.get(row, ())))
    return dict(found)


def _bucket_info(pictures: Iterable[Picture]) -> dict[str, Any]:
    """Return the buckets with their samples, and the mean difference of aspect ratios, each picture counted once."""
    samples: Counter[Size] = Counter()
    errors: list[float] = []
    for picture in pictures:
        framing = picture.framing
        samples[framing.size] += picture.repeats
        errors.append(abs(framing.size[0] / framing.size[1] - framing.original[0] / framing.original[1]))
    buckets = {row: {"resolution": size, "count": samples[size]} for row, size in enumerate(sorted(samples))}
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0}


def _directories(datasets: Sequence[DatasetSpec], by_dataset: Mapping[int, Sequence[Picture]]) -> dict[str, Any]:
    """Return repeats and pictures of every folder; a name that occurs again gets " (2)", " (3)"."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for row, dataset in enumerate(datasets):
        counts = Counter(picture.subset for picture in by_dataset.get(row, ()))
        for column, subset in enumerate(dataset.subsets):
            name = _name(subset)
            seen[name] += 1
            unique = name if seen[name] == 1 else f"{name} ({seen[name]})"
            found[unique] = {"n_repeats": subset.num_repeats, "img_count": counts[column]}
    return found


def _name(subset: SubsetSpec) -> str:
    return subset.image_dir.name or str(subset.image_dir)
