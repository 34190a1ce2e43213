from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
from loracore.config.options import PreviewOptions
from loracore.diffusion.pictures.picture_sizes import size_findings

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


def told(*datasets: DatasetSpec) -> list[str]:
    config = Config([PreviewOptions()], {}, datasets)
    return [str(finding.problem(config)) for finding in size_findings(config, 32)]


def test_sound_sizes_are_not_complained_about() -> None:
    assert told() == []
    assert told(SOUND, replace(SOUND, resolution=(1000, 1000)), replace(SOUND, enable_bucket=False)) == []
    assert told(replace(ODD_STEPS, enable_bucket=False)) == []


def test_every_data_set_of_odd_sizes_is_named_with_its_fix() -> None:
    first, second = told(ODD_STEPS, SOUND, ODD_SIDE)
    assert first == (
        "data.toml:7: data set 1 (fish): bucket_reso_steps is 40, but this model needs multiples of 32 "
        "pixels (use 32 or 64)"
    )
    assert second.startswith("data.toml:7: data set 3 (fish): the resolution is 1024x1000, but")
    assert second.endswith('(use "1024,992", or enable_bucket)')


def test_data_set_that_uses_no_folder_is_named_by_its_number() -> None:
    (problem,) = told(replace(ODD_STEPS, subsets=()))
    assert problem.startswith("--bucket_reso_steps: data set 1: bucket_reso_steps")
