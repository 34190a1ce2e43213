from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
from loracore.diffusion.picture_sizes import check_sizes
from loracore.errors import DataError

FISH = SubsetSpec(Path("fish"), 1, "data.toml:7")
SOUND = DatasetSpec(
    resolution=(1024, 1024),
    batch_size=1,
    enable_bucket=True,
    min_bucket_reso=256,
    max_bucket_reso=2048,
    bucket_reso_steps=64,
    bucket_no_upscale=False,
    subsets=(FISH,),
)
ODD_STEPS = replace(SOUND, bucket_reso_steps=40)
ODD_SIDE = replace(SOUND, enable_bucket=False, resolution=(1024, 1000))


def test_sound_sizes_are_not_complained_about() -> None:
    check_sizes([], 32)
    check_sizes([SOUND, replace(SOUND, resolution=(1000, 1000)), replace(SOUND, enable_bucket=False)], 32)
    check_sizes([replace(ODD_STEPS, enable_bucket=False)], 32)


def test_every_data_set_of_odd_sizes_is_named_with_its_fix() -> None:
    with pytest.raises(DataError) as caught:
        check_sizes([ODD_STEPS, SOUND, ODD_SIDE], 32)
    first, second = caught.value.problems
    assert str(first) == (
        "data.toml:7: data set 1 (fish): bucket_reso_steps is 40, but this model needs multiples of 32 "
        "pixels (use 32 or 64)"
    )
    assert "data set 3 (fish): the resolution is 1024x1000" in second.message
    assert second.fix == 'use "1024,992", or enable_bucket'


def test_data_set_that_uses_no_folder_is_named_by_its_number() -> None:
    with pytest.raises(DataError, match=r"^data set 1: bucket_reso_steps"):
        check_sizes([replace(ODD_STEPS, subsets=())], 32)
