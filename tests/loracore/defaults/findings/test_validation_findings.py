from __future__ import annotations

from typing import Any

import pytest

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
from loracore.config.options import DataOptions, ValidationOptions
from loracore.defaults.findings.validation_findings import validation_findings


def fates(split: float | None, **options: Any) -> dict[str, str]:
    """Return what is found of options, before data sets are known (None) or with one that holds out this share."""
    config = Config([ValidationOptions(**options), DataOptions()], {name: f"--{name}" for name in options})
    if split is not None:
        subset = SubsetSpec(None, 1, "--train_data_dir", validation_split=split)
        config = config.with_datasets([DatasetSpec((64, 64), 1, True, 64, 128, 64, False, (subset,))])
    return {finding.option: finding.fate for finding in validation_findings(config)}


FOLLOWING = {"keep_best": 1, "early_stopping_patience": 2}
WRONG = dict.fromkeys(FOLLOWING, "wrong")


def test_options_that_have_an_effect_are_fine() -> None:
    for split in (None, 0.5):
        assert fates(split, validate_every_n_steps=2, max_validation_steps=3, **FOLLOWING) == {}
        assert fates(split, validate_every_n_epochs=0) == {}


def test_without_held_out_pictures_nothing_can_follow_from_them() -> None:
    assert fates(0.0, **FOLLOWING) == WRONG
    assert fates(None, **FOLLOWING) == {}  # not known yet


@pytest.mark.parametrize("name", ["validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps"])
def test_without_held_out_pictures_there_is_nothing_to_validate(name: str) -> None:
    assert fates(0.0, **{name: 3}) == {name: "without effect"}


def test_validation_that_is_off_is_followed_by_nothing() -> None:
    never = {"validate_every_n_steps": 0, "validate_every_n_epochs": 0}
    for split in (None, 0.5):
        assert fates(split, **never, max_validation_steps=3, **FOLLOWING) == {
            **WRONG,
            "max_validation_steps": "without effect",
        }


def test_a_threshold_belongs_to_patience() -> None:
    assert fates(0.5, early_stopping_threshold=0.1) == {"early_stopping_threshold": "without effect"}
    assert fates(0.5, early_stopping_threshold=0.1, early_stopping_patience=1) == {}
