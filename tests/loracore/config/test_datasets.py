from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
from loracore.config.datasets import read_datasets
from loracore.errors import ConfigError
from tests.loracore.config.data_files import Read, config_from, golden, one

CASES = golden("config")

#: What the field refuses and we take on purpose, and why.
ACCEPTED: Mapping[str, str] = MappingProxyType(
    {
        "resolution as string": "the field's documents write it so",
        "validation_split in a subset": "the field's documents write it so",
        "validation_split integer 1": "a whole number is a number",
        "network_multiplier integer": "a whole number is a number",
        "face_crop_aug_range of integers": "whole numbers are numbers",
        "alpha_mask in [general]": "a default like any other",
        "alpha_mask in [[datasets]]": "a default like any other",
        "caption_extension on a fine-tuning dataset": "it is taken in [general] too, and changes nothing",
        "conditioning_data_dir without --masked_loss": "who names masks wants them; a note says so",
        "conditioning_data_dir plus class_tokens": "masks are no style of their own here",
        "conditioning_data_dir plus is_reg": "masks are no style of their own here",
        "conditioning_data_dir only on one of two subsets": "masks belong to a subset, not to a data set",
    }
)

#: What the field takes here and refuses when it makes its buckets.
REFUSED_EARLIER: Mapping[str, str] = MappingProxyType(
    {"enable_bucket in [general]": "the resolution 64x64 is below min_bucket_reso = 256"}
)


def cases(*, ok: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES if case["ok"] is ok], ids=lambda case: case["how"])


def read_case(case: dict[str, Any], folder: Path) -> tuple[DatasetSpec, ...]:
    path = folder / "data.json"
    path.write_text(json.dumps(case["config"]), "utf-8")
    flags = ["--masked_loss"] if case["masked_loss_flag"] else []
    return read_datasets(config_from("--dataset_config", str(path), *flags, *case["command_line"]), None)


def style(subset: SubsetSpec) -> str:
    if subset.metadata_file is not None:
        return "finetuning"
    return "dreambooth" if subset.conditioning_data_dir is None else "masked/conditioning"


def as_the_field(dataset: DatasetSpec) -> dict[str, Any]:
    """Return a data set's values as the field names and writes them.

    The field's data sets keep a resize_interpolation beside that of their subsets; ours is in the subsets alone.
    """
    return {
        **{name: getattr(dataset, name) for name in dataset.__slots__},
        "resolution": list(dataset.resolution),
        "resize_interpolation": dataset.subsets[0].resize_interpolation,
    }


def subset_as_the_field(subset: SubsetSpec, dataset: DatasetSpec) -> dict[str, Any]:
    """Return a subset's values as the field names and writes them."""
    rules = {name: getattr(subset.captions, name) for name in subset.captions.__slots__}
    affixes = {name: rules[name] or None for name in ("caption_prefix", "caption_suffix", "secondary_separator")}
    paths = {name: getattr(subset, name) for name in ("image_dir", "metadata_file", "conditioning_data_dir")}
    return {
        **{name: getattr(subset, name) for name in subset.__slots__},
        **rules,
        **affixes,
        **{name: getattr(subset.augmentations, name) for name in subset.augmentations.__slots__},
        **{name: None if path is None else path.as_posix() for name, path in paths.items()},
        "custom_attributes": dict(subset.custom_attributes) or None,
        "validation_split": dataset.validation_split if subset.validation_split is None else subset.validation_split,
    }


@cases(ok=True)
def test_golden_configs_read_as_in_the_field(tmp_path: Path, case: dict[str, Any]) -> None:
    if case["how"] in REFUSED_EARLIER:
        with pytest.raises(ConfigError, match=REFUSED_EARLIER[case["how"]]):
            read_case(case, tmp_path)
        return
    for dataset, result in zip(read_case(case, tmp_path), case["result"], strict=True):
        assert_equal(as_the_field(dataset), result["dataset"], but={"prior_loss_weight"})
        for subset, theirs in zip(dataset.subsets, result["subsets"], strict=True):
            assert style(subset) == result["kind"]
            assert_equal(subset_as_the_field(subset, dataset), theirs, but={"validation_seed", "cache_info"})
            assert subset.loss_weight == (result["dataset"].get("prior_loss_weight", 1.0) if subset.is_reg else 1.0)


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any], *, but: set[str]) -> None:
    """Compare every field of theirs; ``but`` names what we have no place for.

    That is the loss weight of regularisation, which is in its subsets here; a seed of subsets that the field never
    reads; and the index, which is always kept.
    """
    assert {name: ours[name] for name in theirs if name not in but} == {
        name: value for name, value in theirs.items() if name not in but
    }


@cases(ok=False)
def test_golden_mistakes_are_refused_or_taken_on_purpose(tmp_path: Path, case: dict[str, Any]) -> None:
    if case["how"] in ACCEPTED:
        assert all(dataset.subsets for dataset in read_case(case, tmp_path))
    else:
        with pytest.raises(ConfigError):
            read_case(case, tmp_path)


def test_every_name_of_an_exception_is_that_of_a_case() -> None:
    assert {*ACCEPTED, *REFUSED_EARLIER} <= {case["how"] for case in CASES}


def test_defaults_are_the_fields(read: Read) -> None:
    (dataset,) = read(one())
    assert (dataset.resolution, dataset.batch_size, dataset.enable_bucket) == ((512, 512), 1, False)
    assert (dataset.bucket_bounds, dataset.bucket_reso_steps, dataset.bucket_no_upscale) == ((256, 1024), 64, False)
    (subset,) = dataset.subsets
    assert subset == SubsetSpec(Path("pics"), num_repeats=1, place="data.toml:8")


def test_a_resolution_may_come_from_the_run(read: Read) -> None:
    text = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'"
    assert read(text, resolution="1024,768")[0].resolution == (1024, 768)


def test_what_the_whole_run_should_know_is_said_of_the_first_data_set(read: Read) -> None:
    text = "[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = 'x'\n"
    assert [len(dataset.warnings) for dataset in read(text + text, masked_loss=True)] == [1, 0]
