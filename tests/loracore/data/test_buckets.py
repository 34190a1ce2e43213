from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.config.dataset_spec import DatasetSpec
from loracore.data.buckets import Buckets, bucket_sizes, make_buckets

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Golden

SIDES = st.integers(64, 4000)


def spec_of(dataset: Dataset, settings: dict[str, Any]) -> DatasetSpec:
    return dataset(**{**settings, "resolution": tuple(settings["resolution"]), "enable_bucket": True})


@pytest.mark.parametrize("number", range(10))
def test_golden_bucket_lists(golden: Golden, dataset: Dataset, number: int) -> None:
    section = golden["buckets"][number]
    spec = spec_of(dataset, section["settings"])
    assert list(spec.bucket_bounds) == section["effective_min_max"]
    if not spec.bucket_no_upscale:
        assert [list(size) for size in make_buckets(spec).sizes] == section["bucket_resolutions"]


@pytest.mark.parametrize("number", range(10))
def test_golden_framings(golden: Golden, dataset: Dataset, number: int) -> None:
    section = golden["buckets"][number]
    buckets = make_buckets(spec_of(dataset, section["settings"]))
    for case in section["cases"]:
        framing = buckets.framing(tuple(case["image"]))
        if "error" in case or 0 in case["bucket"]:
            assert framing is None, case
        else:
            assert framing is not None
            found = [list(framing.size), list(framing.resized), list(framing.crop)]
            assert found == [case["bucket"], case["resized"], case["centre_crop_xy"]], case


def test_golden_framings_without_buckets(golden: Golden, dataset: Dataset) -> None:
    buckets = make_buckets(dataset(resolution=(1024, 1024)))
    for case in golden["no_bucket"]["cases"]:
        framing = buckets.framing(tuple(case["image"]))
        assert framing is not None
        assert [list(framing.size), list(framing.resized)] == [case["bucket"], case["resized"]]


def test_the_cut_is_central(dataset: Dataset) -> None:
    framing = make_buckets(dataset(resolution=(64, 64))).framing((200, 64))
    assert framing is not None
    assert framing.crop == (68, 0)


@given(SIDES, SIDES, st.booleans())
def test_a_framing_fills_its_bucket(width: int, height: int, no_upscale: bool) -> None:
    sizes = () if no_upscale else bucket_sizes((1024, 1024), (256, 2048), 64)
    framing = Buckets((1024, 1024), sizes, 64).framing((width, height))
    if framing is not None:
        for crop, size, resized in zip(framing.crop, framing.size, framing.resized, strict=True):
            assert size % 64 == 0
            assert 0 <= crop <= resized - size


@given(SIDES, SIDES)
def test_no_upscale_never_enlarges(width: int, height: int) -> None:
    framing = Buckets((512, 512), (), 64).framing((width, height))
    if framing is not None:
        assert framing.resized[0] <= width
        assert framing.resized[1] <= height
