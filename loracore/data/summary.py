"""What an index amounts to, as the data's part of a saved file's header."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loracore.data.captions.texts import tag_frequency
from loracore.data.index import Rows

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
    from loracore.data.buckets import Size
    from loracore.data.index import Index


def dataset_metadata(index: Index, datasets: Sequence[DatasetSpec], held_out: int = 0) -> dict[str, str]:
    """Return the ``ss_`` keys that say what was trained on, under the field's names; folders by their last name.

    A run with one data set has that one's sizes and buckets as keys of their own as well. ``held_out`` is the number
    of validation pictures.
    """
    described = [_describe(index, number, dataset) for number, dataset in enumerate(datasets)]
    tags: dict[str, Mapping[str, int]] = {}
    for one in described:
        tags = {**one["tag_frequency"], **tags}  # the first data set of a folder speaks for it
    found = {
        "ss_num_train_images": str(sum(one["num_train_images"] for one in described)),
        "ss_num_reg_images": str(sum(one["num_reg_images"] for one in described)),
        "ss_num_validation_images": str(held_out),
        "ss_datasets": json.dumps(described),
        "ss_dataset_dirs": json.dumps(_directories(index, datasets, regular=False)),
        "ss_reg_dataset_dirs": json.dumps(_directories(index, datasets, regular=True)),
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


def _describe(index: Index, number: int, dataset: DatasetSpec) -> dict[str, Any]:
    smallest, largest = dataset.bucket_bounds if dataset.enable_bucket else (None, None)
    rows = _rows_by_subset(index, number)
    counts = [len(rows[place]) for place in range(len(dataset.subsets))]
    pairs = list(zip(dataset.subsets, counts, strict=True))
    every = np.concatenate([np.empty(0, dtype=np.int64), *rows.values()])
    return {
        "is_dreambooth": all(subset.metadata_file is None for subset in dataset.subsets),
        "batch_size_per_device": dataset.batch_size,
        "num_train_images": sum(subset.num_repeats * count for subset, count in pairs if not subset.is_reg),
        "num_reg_images": sum(subset.num_repeats * count for subset, count in pairs if subset.is_reg),
        "resolution": dataset.resolution,
        "enable_bucket": dataset.enable_bucket,
        "min_bucket_reso": smallest,
        "max_bucket_reso": largest,
        "network_multiplier": dataset.network_multiplier,
        "tag_frequency": _tags(index, dataset, rows),
        "bucket_info": _bucket_info(index.take(every)) if dataset.enable_bucket else None,
        "subsets": [_describe_subset(subset, count) for subset, count in pairs],
    }


def _rows_by_subset(index: Index, dataset: int) -> dict[int, Rows]:
    """Return the rows of each subset; several sources may be of one: what is trained on, and what is held out."""
    found: dict[int, Rows] = defaultdict(lambda: np.empty(0, dtype=np.int64))
    for number, source in enumerate(index.sources):
        if source.dataset == dataset:
            found[source.number] = np.concatenate([found[source.number], index.rows_of(number)])
    return found


def _describe_subset(subset: SubsetSpec, count: int) -> dict[str, Any]:
    captions, augmentations = subset.captions, subset.augmentations
    listed = None if subset.metadata_file is None else subset.metadata_file.name
    return {
        "img_count": count,
        "num_repeats": subset.num_repeats,
        **({"image_dir": _name(subset)} if listed is None else {"metadata_file": listed}),
        "class_tokens": subset.class_tokens,
        "is_reg": subset.is_reg,
        "alpha_mask": subset.alpha_mask,
        "caption_prefix": captions.caption_prefix or None,
        "caption_suffix": captions.caption_suffix or None,
        "caption_dropout_rate": captions.caption_dropout_rate,
        "caption_dropout_every_n_epochs": captions.caption_dropout_every_n_epochs,
        "caption_tag_dropout_rate": captions.caption_tag_dropout_rate,
        "keep_tokens": captions.keep_tokens,
        "keep_tokens_separator": captions.keep_tokens_separator or None,
        "secondary_separator": captions.secondary_separator or None,
        "token_warmup_min": captions.token_warmup_min,
        "token_warmup_step": captions.token_warmup_step,
        "resize_interpolation": subset.resize_interpolation,
        "color_aug": augmentations.color_aug,
        "flip_aug": augmentations.flip_aug,
        "random_crop": augmentations.random_crop,
        "shuffle_caption": captions.shuffle_caption,
        "enable_wildcard": captions.enable_wildcard,
    }


def _tags(index: Index, dataset: DatasetSpec, rows: Mapping[int, Rows]) -> dict[str, Counter[str]]:
    """Return each folder's tags, counted once a picture whatever its repeats."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for number, subset in enumerate(dataset.subsets):
        if number in rows:
            found[_name(subset)].update(tag_frequency(_tag_text(index, int(row)) for row in rows[number]))
        else:
            found[_name(subset)].update({})
    return dict(found)


def _tag_text(index: Index, row: int) -> str:
    """Return the text whose tags are counted: the caption; of a list its tags alone (as the field has it)."""
    source, table_row = index.source(row), int(index.table_rows[row])
    return source.caption(table_row) if source.listed is None else source.listed.tags[table_row]


def _bucket_info(index: Index) -> dict[str, Any]:
    """Return the buckets with their samples, and the mean difference of aspect ratios, each picture counted once."""
    sizes, originals = index.framings.sizes[index.framing_rows], index.framings.originals[index.framing_rows]
    errors = np.abs(sizes[:, 0] / sizes[:, 1] - originals[:, 0] / originals[:, 1])
    samples: Counter[Size] = Counter()
    counts = np.bincount(index.buckets, weights=index.repeats, minlength=len(index.bucket_list))
    for (_, size), count in zip(index.bucket_list, counts, strict=True):
        samples[size] += int(count)
    used = sorted(size for size, count in samples.items() if count)
    buckets = {number: {"resolution": size, "count": samples[size]} for number, size in enumerate(used)}
    return {"buckets": buckets, "mean_img_ar_error": float(errors.mean()) if len(errors) else 0.0}


def _directories(index: Index, datasets: Sequence[DatasetSpec], *, regular: bool) -> dict[str, Any]:
    """Return repeats and pictures of every folder; a name that occurs again gets " (2)", " (3)"."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for number, dataset in enumerate(datasets):
        rows = _rows_by_subset(index, number)
        for place, subset in enumerate(dataset.subsets):
            if subset.is_reg == regular:
                name = _name(subset)
                seen[name] += 1
                unique = name if seen[name] == 1 else f"{name} ({seen[name]})"
                found[unique] = {"n_repeats": subset.num_repeats, "img_count": len(rows[place])}
    return found


def _name(subset: SubsetSpec) -> str:
    """Return the last name of the folder; of a list, the list's (as the field has it)."""
    source = subset.metadata_file or subset.image_dir
    assert source is not None
    return source.name or str(source)
