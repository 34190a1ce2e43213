"""What a user should know of data sets in which nothing is wrong: adjusted bounds, and what is without effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from loracore.config.config import Config
from loracore.config.dataset_problems import random_pixels
from loracore.config.dataset_spec import CaptionRules, DatasetSpec, SubsetSpec
from loracore.config.dataset_tables import DatasetTables
from loracore.config.options import DataOptions


def dataset_notes(dataset: DatasetSpec, tables: DatasetTables) -> Iterable[str]:
    """Give the notes on one data set."""
    yield from _bucket_notes(dataset, tables.place)
    faces = {subset.place("face_crop_aug_range") for subset in tables.subsets if subset["face_crop_aug_range"]}
    if dataset.enable_bucket:
        for place in sorted(faces):
            yield f"{place}: face_crop_aug_range is without effect: no faces are cut out where buckets are on"
    for place in sorted({subset.place("cache_info") for subset in tables.subsets if subset["cache_info"]}):
        yield f"{place}: cache_info is without effect: the index is always kept and always checked"


def run_notes(datasets: Sequence[DatasetSpec], tables: Sequence[DatasetTables], config: Config) -> Iterable[str]:
    """Give the notes that need every data set of the run."""
    yield from _mask_notes([subset for dataset in datasets for subset in dataset.subsets], tables, config)
    yield from _encoding_note(tables, config)
    yield from _idle_flags(datasets, config)


def _bucket_notes(dataset: DatasetSpec, place: str) -> Iterable[str]:
    """Give what a user should know of the buckets' bounds, which matter only while pictures may be enlarged."""
    if not dataset.enable_bucket or dataset.bucket_no_upscale:
        return
    smallest, largest = dataset.bucket_bounds
    if (smallest, largest) != (dataset.min_bucket_reso, dataset.max_bucket_reso):
        asked = f"{dataset.min_bucket_reso} to {dataset.max_bucket_reso}"
        yield f"{place}: buckets have sides of {smallest} to {largest}, multiples of bucket_reso_steps, not {asked}"
    if largest * 2 < max(dataset.resolution) * 3:
        width, height = dataset.resolution
        yield (
            f"{place}: max_bucket_reso = {dataset.max_bucket_reso} makes wide and tall pictures smaller than the "
            f"resolution {width}x{height} asks for; {max(dataset.resolution) * 2} would not"
        )


def _mask_notes(subsets: Sequence[SubsetSpec], tables: Sequence[DatasetTables], config: Config) -> Iterable[str]:
    """Give what is said once of masks: used unasked, asked for and not there, or named twice."""
    data = config[DataOptions]
    masked = next((subset for subset in subsets if subset.conditioning_data_dir is not None), None)
    if masked is not None and not data.masked_loss:
        yield (
            f"{masked.place}: the masks of conditioning_data_dir are used although masked_loss is off; "
            "leave conditioning_data_dir out to train without"
        )
    if masked is None and data.masked_loss and not any(subset.alpha_mask for subset in subsets):
        place = config.place("masked_loss")
        yield f"{place}: masked_loss is without effect: no subset has alpha_mask or conditioning_data_dir"
    if data.conditioning_data_dir is not None and not any(dataset.without_masks for dataset in tables):
        place = config.place("conditioning_data_dir")
        yield f"{place}: conditioning_data_dir is without effect: every subset names its own"


def _encoding_note(tables: Sequence[DatasetTables], config: Config) -> Iterable[str]:
    """Give the first reason for which pictures are not encoded once, though the options would have it."""
    subsets = [subset for dataset in tables for subset in dataset.subsets if subset["num_repeats"] > 0]
    found = next(((subset, key) for subset in subsets for key in random_pixels(subset)), None)
    if found is not None and config[DataOptions].caches_latents:
        subset, key = found
        yield f"{subset.place(key)}: pictures are encoded in every step, not once: {key} changes them each time"


def _idle_flags(datasets: Sequence[DatasetSpec], config: Config) -> Iterable[str]:
    """Give flags that change nothing here; files are left alone, because guides write these into all of them."""
    subsets = [subset for dataset in datasets for subset in dataset.subsets]
    reasons = {
        "keep_tokens": ("no subset shuffles or drops tags", any(_moves_tags(subset.captions) for subset in subsets)),
        "token_warmup_min": (
            "no subset has a token_warmup_step",
            any(subset.captions.token_warmup_step > 0 for subset in subsets),
        ),
        "validation_seed": (
            "no data set has a validation_split",
            any(dataset.holds_out for dataset in datasets),
        ),
        "prior_loss_weight": ("no subset is regularisation", any(subset.is_reg for subset in subsets)),
    }
    given, ordinary = asdict(config[DataOptions]), asdict(DataOptions())
    for name, (reason, matters) in reasons.items():
        place = config.place(name)
        if not matters and config.given(name) and place.startswith("--") and given[name] != ordinary[name]:
            yield f"{place}: {name} is without effect: {reason}"


def _moves_tags(rules: CaptionRules) -> bool:
    """Tell whether tags change their places or are left out, except those that are kept."""
    return rules.shuffle_caption or rules.token_warmup_step > 0 or rules.caption_tag_dropout_rate > 0
