"""Tables in which nothing is wrong → the data sets of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loracore.config.dataset_keys import KEYS
from loracore.config.dataset_spec import Augmentations, CaptionRules, DatasetSpec, SubsetSpec
from loracore.config.dataset_tables import DatasetTables, Layers, source_place
from loracore.config.options import DataOptions


def build_dataset(dataset: DatasetTables, run: DataOptions) -> DatasetSpec:
    """Return a data set with every value looked up; subsets that cannot be used are left out with a warning."""
    layers = dataset.layers
    subsets = [_build_subset(subset, run) for subset in dataset.subsets]
    reasons = list(_left_out(subsets))
    # what subsets may say of their data set, they say with one voice; regularisation has none
    voice = next(iter(dataset.training), layers)
    return DatasetSpec(
        resolution=layers["resolution"],
        batch_size=layers["batch_size"],
        enable_bucket=layers["enable_bucket"],
        min_bucket_reso=layers["min_bucket_reso"],
        max_bucket_reso=layers["max_bucket_reso"],
        bucket_reso_steps=layers["bucket_reso_steps"],
        bucket_no_upscale=layers["bucket_no_upscale"],
        subsets=tuple(subset for subset, reason in zip(subsets, reasons, strict=True) if not reason),
        warnings=tuple(reason for reason in reasons if reason),
        network_multiplier=voice["network_multiplier"],
        validation_split=layers["validation_split"],
        validation_seed=voice["validation_seed"],
    )


def _build_subset(layers: Layers, run: DataOptions) -> SubsetSpec:
    is_reg: bool = layers["is_reg"]
    masks = layers["conditioning_data_dir"] or (None if is_reg else run.conditioning_data_dir)
    return SubsetSpec(
        image_dir=_path(layers["image_dir"]),
        num_repeats=layers["num_repeats"],
        place=source_place(layers),
        caption_extension=_dotted(layers["caption_extension"]),
        class_tokens=layers["class_tokens"],
        captions=CaptionRules(**_given(layers, CaptionRules), legacy_captions=run.legacy_captions),
        augmentations=_augmentations(layers),
        resize_interpolation=layers["resize_interpolation"],
        metadata_file=_path(layers["metadata_file"]),
        conditioning_data_dir=_path(masks),
        alpha_mask=layers["alpha_mask"],
        is_reg=is_reg,
        loss_weight=run.prior_loss_weight if is_reg else 1.0,
        validation_split=layers.tables[0].values.get("validation_split"),
        custom_attributes=MappingProxyType(layers["custom_attributes"]),
    )


def _augmentations(layers: Layers) -> Augmentations:
    """Return what changes pictures at random; faces are cut out only where there are no buckets."""
    found = _given(layers, Augmentations)
    if layers["enable_bucket"]:
        found.pop("face_crop_aug_range", None)
    return Augmentations(**found)


def _given(layers: Layers, table: type) -> dict[str, Any]:
    """Return the values of those fields of a dataclass that are keys and given; its own defaults are the others'."""
    names = [field.name for field in fields(table) if field.name in KEYS]
    return {name: layers[name] for name in names if layers[name] is not None}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _dotted(extension: str) -> str:
    """Return an extension with its dot."""
    return extension if extension.startswith(".") else f".{extension}"


def _left_out(subsets: Iterable[SubsetSpec]) -> Iterator[str]:
    """Give for every subset why it is not used, or an empty string."""
    used: dict[tuple[str, ...], str] = {}
    for subset in subsets:
        if subset.num_repeats < 1:
            yield f"{subset.place}: {subset.source} is not used: its num_repeats is {subset.num_repeats}"
            continue
        pictures = _pictures(subset)
        named = f"{used[pictures]} names it already" if pictures in used else ""
        yield named and f"{subset.place}: {subset.source} is not used again: {named}"
        used.setdefault(pictures, subset.place)


def _pictures(subset: SubsetSpec) -> tuple[str, ...]:
    """Return what tells one subset's pictures from another's, as the field has it: its list, or folder and masks."""
    if subset.metadata_file is not None:
        return ("list", _real(subset.metadata_file))
    masks = subset.conditioning_data_dir
    return ("folder", _real(subset.source), "" if masks is None else _real(masks))


def _real(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))
